"""Six right programs as courses write them; `python -m tests.mlp_torch.check.lines.page` plants the slips."""
