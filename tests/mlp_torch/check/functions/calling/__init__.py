"""How people write their functions, and what they hand over."""
