"""From hypotheses to the sets of them that make the author's arrays."""
