"""Batch and layer normalization: by the batch's own statistics, and in evaluation by constant ones."""
