"""The one kind of error that a person at the command line is meant to read."""


class UserError(ValueError):
    """Something the user can put right: one line that says what was wrong, where, and what to do."""
