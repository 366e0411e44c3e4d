"""The loop that drives every engine, what it asks of one, and the bookkeeping around both."""
