"""Tables, side by side in one run: how fast they are read, and how fast a whole task is learnt.

    python tests/benchmarks/bench_tables.py [--megabytes 260] [--tables 5]

1. A CSV of that size by polars, pandas and pyarrow (those that are there) and by `mlp_torch.tables`.
2. Tables of 2,000 passengers: `mlp_torch.MLPClassifier` and scikit-learn's in one Pipeline, equal settings.
3. A grid search of nine such pipelines, in threefold cross-validation, by two processes (n_jobs=2).
"""

import argparse
import importlib.util
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl


def big(folder: Path, megabytes: int) -> Path:
    """Eight numbers, two categories and a target a row."""
    g, n = np.random.default_rng(0), megabytes * 5800
    columns: dict[str, Any] = {f"x{i}": g.normal(size=n) for i in range(8)}
    columns |= {
        "colour": g.choice(["red", "green", "blue"], n),
        "town": g.choice([f"t{i}" for i in range(200)], n),
    }
    pl.DataFrame(columns | {"y": g.choice(["yes", "no"], n)}).write_csv(folder / "big.csv")
    return folder / "big.csv"


def readers(path: Path) -> dict[str, Any]:
    from mlp_torch.tables.table import read_table

    found: dict[str, Any] = {
        "mlp_torch.tables": lambda: read_table(path),
        "polars": lambda: pl.read_csv(path),
    }
    if importlib.util.find_spec("pandas"):
        import pandas

        found["pandas"] = lambda: pandas.read_csv(path)
    if importlib.util.find_spec("pyarrow"):
        from pyarrow import csv

        found["pyarrow"] = lambda: csv.read_csv(path)
    return found


def passengers(seed: int) -> tuple[Any, Any]:
    """A frame of numbers with gaps and categories, and who survived."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.mlp_torch.inference.tables import passengers as made

    frame = made(2000, seed).drop("day", "alone")
    x = np.array(frame.drop("survived").rows(), dtype=object)
    return x, frame["survived"].to_numpy()


def pipeline(classifier: Any) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    words = make_pipeline(
        SimpleImputer(missing_values=None, strategy="constant", fill_value="missing"),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    return make_pipeline(make_column_transformer((numbers, [0, 2, 3]), (words, [1, 4])), classifier)


def task(tables: int) -> None:
    import warnings

    from sklearn import neural_network as sk
    from sklearn.model_selection import train_test_split

    import mlp_torch

    warnings.simplefilter("ignore")
    settings: dict[str, Any] = {"hidden_layer_sizes": (64, 32), "max_iter": 200, "random_state": 0}
    pipeline(mlp_torch.MLPClassifier(**settings)).fit(*passengers(99))  # compiled, imported
    rows = []
    for seed in range(tables):
        x, y = passengers(seed)
        a, b, ya, yb = train_test_split(x, y, test_size=0.25, random_state=seed, stratify=y)
        found = {}
        for name, kind in (("ours", mlp_torch.MLPClassifier), ("scikit-learn", sk.MLPClassifier)):
            model, start = pipeline(kind(**settings)), time.perf_counter()
            model.fit(a, ya)
            found[name] = time.perf_counter() - start, model.score(b, yb)
        rows.append(found)
        print(seed, {n: f"{t:.3f} s, accuracy {s:.3f}" for n, (t, s) in found.items()})
    ratio = statistics.median(r["ours"][0] / r["scikit-learn"][0] for r in rows)
    gap = statistics.median(r["ours"][1] - r["scikit-learn"][1] for r in rows)
    print(f"median of {tables} tables: {ratio:.2f} of scikit-learn's time, accuracy {gap:+.4f}")


def grid(tables: int) -> None:
    import warnings

    from sklearn import neural_network as sk
    from sklearn.model_selection import GridSearchCV

    import mlp_torch

    warnings.simplefilter("ignore")
    choices = {
        "mlpclassifier__alpha": [1e-4, 1e-2, 1],
        "mlpclassifier__learning_rate_init": [1e-4, 1e-3, 1e-2],
    }
    ratios = []
    for seed in range(tables):
        x, y = passengers(seed)
        found = {}
        for name, kind in (("ours", mlp_torch.MLPClassifier), ("scikit-learn", sk.MLPClassifier)):
            model = pipeline(kind(hidden_layer_sizes=(64, 32), max_iter=100, random_state=0))
            search, start = GridSearchCV(model, choices, n_jobs=2, cv=3), time.perf_counter()
            search.fit(x, y)
            found[name] = time.perf_counter() - start, search.best_score_
        ratios.append(found["ours"][0] / found["scikit-learn"][0])
        print(seed, {n: f"{t:.2f} s, best accuracy {s:.3f}" for n, (t, s) in found.items()})
    print(f"grid search: {statistics.median(ratios):.2f} of scikit-learn's time, median of {tables} tables")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=260)
    parser.add_argument("--tables", type=int, default=5)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = big(Path(folder), flags.megabytes)
        times: dict[str, list[float]] = {}
        for _ in range(3):
            for name, read in readers(path).items():
                start = time.perf_counter()
                read()
                times.setdefault(name, []).append(time.perf_counter() - start)
        size = path.stat().st_size / 1e6
        for name, found in times.items():
            print(f"{name:18} {size / min(found):6.0f} MB/s")
    task(flags.tables)
    grid(flags.tables)


if __name__ == "__main__":
    main()
