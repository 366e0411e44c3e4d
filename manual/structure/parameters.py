"""Parameters by name, whose shapes stay what they are."""

from typing import Any

import numpy as np

from manual.numbers import Array


class Parameters(dict[str, Array]):
    """A live dict of arrays: write into an array or assign an entry, and the network uses it.

    Assigning an unknown name raises KeyError, another shape ValueError; nothing broadcasts silently.
    """

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self:
            raise KeyError(f"no parameter {name!r}; there are {', '.join(self)}")
        array = np.asarray(value)
        if array.shape != self[name].shape:
            raise ValueError(f"{name} has shape {self[name].shape}, not {array.shape}")
        super().__setitem__(name, array)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copying and pickling start from all names at once: an empty dict would refuse each."""
        return Parameters, (dict(self),)
