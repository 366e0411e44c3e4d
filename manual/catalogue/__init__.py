"""What is not on the slides, in the same form: further activations, losses, optimizers and schedules."""
