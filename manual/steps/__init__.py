"""What the fast steps share: the program of stages, the flat arrays and their names, what is refused."""
