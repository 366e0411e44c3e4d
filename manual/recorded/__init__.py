"""The rows' own formulas as data: what runs on a recording number can be written again as code or as text."""

from manual.recorded.formula import Formula, recorded
from manual.recorded.record import Record, Recorded, walk

__all__ = ["Formula", "Record", "Recorded", "recorded", "walk"]
