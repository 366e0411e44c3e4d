"""What a person gets wrong, one room a place of the chain rule."""
