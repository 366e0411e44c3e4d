"""The one kind of error that a person at the command line is meant to read."""


class UserError(ValueError):
    """Something the user can put right: one line that says what was wrong, where, and what to do."""


class InternalError(RuntimeError):
    """A fault of the program in another process, with the traceback that was kept there."""

    def __init__(self, what: str, trace: str) -> None:
        super().__init__(what)
        self.trace = trace
