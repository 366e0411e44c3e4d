"""How much the walk measures: the seeds, the data set and the effort that every step is given."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Walk:
    """What every step is given: the seed, the data set of its experiments, and how much to measure.

    `seeds` is the number of repetitions; `effort` scales the epochs, 1 for the two-minute walk.
    """

    seed: int = 0
    data: str = "digits"
    seeds: int = 5
    effort: float = 1.0

    def epochs(self, n: int) -> int:
        """n epochs, times the effort, at least 2."""
        return max(2, round(n * self.effort))

    @property
    def repetitions(self) -> range:
        """The seeds of the repetitions: seed, seed + 1, …"""
        return range(self.seed, self.seed + self.seeds)
