"""What TensorBoard is shown of a run: a table of parts (`parts.py`), made of one `Moment` each time."""
