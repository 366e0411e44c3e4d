"""A run as a graph for other programs: ONNX, or torch's exported program."""
