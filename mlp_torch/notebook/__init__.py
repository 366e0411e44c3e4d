"""What a notebook shows: its cells by name, and the curves of a run as it trains."""
