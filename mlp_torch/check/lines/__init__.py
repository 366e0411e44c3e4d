"""The guilty line of an author's backward pass, proven by repair, and the line that mends it."""
