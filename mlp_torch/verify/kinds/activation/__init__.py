"""Activations: what is known of each row (`rows.py`), and the stages that apply one (`stages.py`)."""
