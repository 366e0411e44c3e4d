"""What is done with a run when it is trained: evaluated, asked for predictions, listed, loaded in Python."""
