"""One training run: the command, its Python face, what happens around the loop, how it goes on and ends."""
