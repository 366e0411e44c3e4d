"""What the author's network is: layers, layout, the forward pass, losses, and what rounding allows."""
