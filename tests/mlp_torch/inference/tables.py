"""A table like a passenger list, made anew from a seed."""

from pathlib import Path

import numpy as np
import polars as pl


def passengers(n: int, seed: int) -> pl.DataFrame:
    """n rows: numbers with gaps, categories with gaps, dates, booleans, and who survived."""
    g = np.random.default_rng(seed)
    age, fare = np.abs(g.normal(35, 14, n)), np.exp(g.normal(3, 1, n))
    sex, port = g.choice(["male", "female"], n), g.choice(["S", "C", "Q"], n, p=[0.7, 0.2, 0.1])
    cabin = g.choice([1, 2, 3], n, p=[0.25, 0.2, 0.55])
    log_odds = 2.2 * (sex == "female") - 0.9 * (cabin - 2) - 0.02 * (age - 35) + g.normal(0, 0.8, n) - 0.8
    return pl.DataFrame(
        {
            "class": cabin,
            "sex": sex,
            "age": [None if g.random() < 0.2 else round(float(a), 1) for a in age],
            "fare": fare.round(2),
            "port": [None if g.random() < 0.02 else str(p) for p in port],
            "day": [f"1912-04-{d:02d}" for d in g.integers(1, 15, n)],
            "alone": g.choice([True, False], n),
            "survived": np.where(log_odds > 0, "yes", "no"),
        }
    )


def prices(n: int, seed: int) -> pl.DataFrame:
    """n rows of a regression: a price in thousands."""
    g = np.random.default_rng(seed)
    area, rooms = g.uniform(30, 200, n), g.integers(1, 7, n)
    town = g.choice(["north", "south"], n)
    price = 3 * area + 20 * rooms + 50 * (town == "north") + g.normal(0, 15, n)
    return pl.DataFrame({"area": area.round(1), "rooms": rooms, "town": town, "price": price.round(2)})


def written(folder: Path, frame: pl.DataFrame, name: str = "table.csv") -> Path:
    """The frame as a CSV file."""
    frame.write_csv(folder / name)
    return folder / name
