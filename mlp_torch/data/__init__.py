"""What is trained on: the built-in sets, files and OpenML, split, and coded as network and loss want it."""
