"""Bounds of rows that have none by hand, from the operations that their own formulas record."""
