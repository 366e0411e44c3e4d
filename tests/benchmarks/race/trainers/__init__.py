"""One trainer a library: `prepare(seed)` outside the clock, `train()` inside, then `weights()`."""
