"""Who is there in this attempt: all processes agree on a word that none of an earlier attempt knows.

torchrun counts its restarts on each machine by itself, so the count cannot say which attempt this is: after
a fault that two machines saw a different number of times, their processes would wait for each other for ever.
Every process says a word of its own, rank 0 calls all by theirs, each answers the call that has its own in
it, and rank 0 says when all have. Words of processes that are gone get no answer.
"""

import hashlib
import time
import uuid
from collections.abc import Iterator
from typing import Any

OFTEN = 0.02  # seconds between two looks into the store


class Meeting:
    """Of `size` processes by a store that they share; `absent` are the ranks that have not come yet."""

    def __init__(self, store: Any, rank: int, size: int) -> None:
        self.store, self.rank, self.size = store, rank, size
        self.absent = [r for r in range(size) if r != rank]
        self.mine = uuid.uuid4().hex

    def held(self, seconds: float) -> str:
        """The word of this attempt. Raises RuntimeError where it is not found within so many seconds."""
        if self.size == 1:
            return self.mine
        self.store.set(f"here/{self.rank}", self.mine)
        until = time.monotonic() + seconds
        for word in self._called() if self.rank == 0 else self._heard():
            if word is not None:
                return word
            if time.monotonic() > until:
                raise RuntimeError(f"timed out after {seconds:g} s")
            time.sleep(OFTEN)
        raise AssertionError  # both look for ever

    def _called(self) -> Iterator[str | None]:
        """Rank 0: call all that are there, anew when a word has changed, until all answer."""
        others, called = range(1, self.size), None
        while True:
            here = [self._found(f"here/{r}") for r in others]
            word = _short([self.mine, *here])
            if word != called and all(here):
                self.store.set("called", " ".join([word, *here]))
                called = word
            self.absent = [r for r in others if self._found(f"answer/{r}") != called]
            if called and not self.absent:
                self.store.set("agreed", called)
                yield called
            yield None

    def _heard(self) -> Iterator[str | None]:
        """The others: answer the call that has their word in it, until rank 0 says that all have."""
        answered = None
        while True:
            called, *words = self._found("called").split() or [""]
            if self.mine in words and called != answered:
                self.store.set(f"answer/{self.rank}", called)
                answered, self.absent = called, []
            yield answered if answered and self._found("agreed") == answered else None

    def _found(self, key: str) -> str:
        return str(self.store.get(key).decode()) if self.store.check([key]) else ""


def _short(words: list[str]) -> str:
    return hashlib.blake2b(" ".join(words).encode(), digest_size=16).hexdigest()
