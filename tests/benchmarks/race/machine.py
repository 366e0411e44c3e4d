"""Where and with what was measured: date, processor, versions, BLAS, and how busy the machine was."""

import os
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "numpy", "numba", "torch", "jax", "optax", "flax", "scikit-learn", "skorch", "lightning", "keras", "mlx",
)  # fmt: skip


def processor() -> str:
    """The processor's name, or its kind."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


VENDORS = {"AuthenticAMD": "AMD", "GenuineIntel": "Intel", "Apple": "Apple", "AMD": "AMD", "Intel": "Intel"}


def kind(info: str | None = None) -> str:
    """The maker of the processor, under which its tables stand; of others their architecture.

    `info` is the text of /proc/cpuinfo, where there is one.
    """
    path = Path("/proc/cpuinfo")
    text = info if info is not None else path.read_text() if path.exists() else processor()
    return next((name for vendor, name in VENDORS.items() if vendor in text), platform.machine() or "other")


def versions() -> list[str]:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found


def blas() -> str:
    """The BLAS libraries that NumPy and SciPy bring, with their versions and kernels."""
    import numpy  # noqa: F401  # threadpoolctl sees the libraries that are loaded
    import scipy.linalg  # noqa: F401  # likewise
    from threadpoolctl import threadpool_info

    pools = [p for p in threadpool_info() if p["user_api"] == "blas"]
    return ", ".join(sorted({f"{p['internal_api']} {p['version']} ({p.get('architecture')})" for p in pools}))


def caption() -> str:
    """One paragraph that dates the table."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{date.today()}, {os.cpu_count()} cores ({processor()}), load {load:.2f} before the run; "
        f"Python {platform.python_version()}, {', '.join(versions())}; {blas()}."
    )
