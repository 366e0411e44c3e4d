"""Who is measured: one row a candidate, with the packages that it needs and the environment it runs in."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Literal

# floor: the matrix products alone; ours: this project's engines; scan: JAX without a trainer around it;
# trainer: what a user would pick instead; full: a method of the full batch, to the others' loss.
Kind = Literal["floor", "ours", "scan", "trainer", "full"]

COMPILERS = "g++", "clang++"


@dataclass(frozen=True)
class Candidate:
    """`module` is a room of `race.trainers`, `trainer` a class in it, called with problem and arguments.

    `own` says what the peer does not let one give it; `only` are the problems it makes sense on,
    `why` not the others; `compiler`: it translates to C++ and needs a compiler for that.
    """

    name: str
    label: str
    kind: Kind
    module: str
    trainer: str
    packages: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    own: str = ""
    extra: bool = False
    only: str = "ABCD"
    why: str = ""
    compiler: bool = False

    @property
    def missing(self) -> str:
        """What it needs and is not there, in words, or nothing."""
        tops = [name.partition(".")[0] for name in self.packages]
        if lacking := ", ".join(top for top in tops if find_spec(top) is None):
            return f"{lacking} is not installed"
        if self.compiler and not any(which(name) for name in COMPILERS):
            return f"no C++ compiler is installed ({', '.join(COMPILERS)})"
        return ""


def _ours(engine: str, label: str, *packages: str, extra: bool = False) -> Candidate:
    return Candidate(
        f"engine-{engine}",
        label,
        "ours",
        "ours",
        "Engine",
        ("manual.training.fit", *packages),
        (engine,),
        extra=extra,
    )


CANDIDATES: dict[str, Candidate] = {
    row.name: row
    for row in [
        Candidate("floor-numpy", "floor: np.dot", "floor", "floor", "Numpy", ("numpy",)),
        Candidate(
            "floor-numba", "floor: np.dot, compiled", "floor", "floor", "Numba", ("numba", "scipy"), only="AC"
        ),
        Candidate("floor-onednn", "floor: oneDNN", "floor", "floor", "OneDNN", ("torch",), only="BD"),
        _ours("auto", "**mlp-torch, auto**", "mlp_torch.engines", extra=True),
        _ours("compiled", "**mlp-torch, compiled**", "numba", "manual.compiled", extra=True),
        _ours("manual", "**mlp-torch, manual** (NumPy)", "manual.buffered"),
        _ours("torch", "**mlp-torch, torch**", "torch", "mlp_torch.engines", "mlp_torch.buffered"),
        _ours("autograd", "mlp-torch, autograd", "torch", "mlp_torch.engines"),
        Candidate(
            "estimator",
            "mlp-torch, MLPClassifier",
            "ours",
            "sklearn_fit",
            "Sklearn",
            ("mlp_torch.estimators.classes",),
            ("mlp_torch.estimators.classes",),
            own="shuffles and weights",
            extra=True,
        ),
        Candidate("jax-scan", "JAX, all of it one scan", "scan", "jax_scan", "Scan", ("jax",), ("hand",)),
        Candidate(
            "jax-optax", "JAX with optax, one scan", "scan", "jax_scan", "Scan", ("jax", "optax"), ("optax",)
        ),
        Candidate(
            "sklearn",
            "scikit-learn MLPClassifier",
            "trainer",
            "sklearn_fit",
            "Sklearn",
            ("sklearn.neural_network",),
            ("sklearn.neural_network",),
            own="shuffles and weights",
        ),
        Candidate(
            "torch-eager", "torch, resident data, fused Adam", "trainer", "torch_loops", "Eager", ("torch",)
        ),
        Candidate("torch-usual", "the usual torch loop", "trainer", "torch_loops", "Usual", ("torch",)),
        Candidate(
            "torch-compile",
            "the usual torch loop, torch.compile",
            "trainer",
            "torch_loops",
            "Compiled",
            ("torch",),
            compiler=True,
        ),
        Candidate("skorch", "skorch", "trainer", "skorch_fit", "Skorch", ("skorch",)),
        Candidate(
            "lightning",
            "Lightning, bar and logger off",
            "trainer",
            "lightning_fit",
            "Lightning",
            ("lightning",),
        ),
        Candidate(
            "keras-jax",
            "Keras on JAX",
            "trainer",
            "keras_fit",
            "Keras",
            ("keras", "jax"),
            environment={"KERAS_BACKEND": "jax"},
            own="shuffles",
        ),
        Candidate(
            "keras-torch",
            "Keras on torch",
            "trainer",
            "keras_fit",
            "Keras",
            ("keras", "torch"),
            environment={"KERAS_BACKEND": "torch"},
            own="shuffles",
        ),
        Candidate(
            "flax", "Flax NNX, a jitted step", "trainer", "flax_nnx", "Nnx", ("flax.nnx", "jax", "optax")
        ),
        Candidate(
            "mlx",
            "MLX, a compiled step, on the CPU",
            "trainer",
            "mlx_loop",
            "Mlx",
            ("mlx.nn",),
            only="AC",
            why="its wheel for Linux brings the reference BLAS, with which a run takes minutes there",
            compiler=True,
        ),
        Candidate(
            "sklearn-lbfgs",
            "scikit-learn MLPClassifier, lbfgs",
            "full",
            "sklearn_lbfgs",
            "Lbfgs",
            ("sklearn.neural_network",),
            own="weights",
            only="AC",
            why="its passes over all samples take minutes a run there",
        ),
    ]
}


def path_of_modules() -> str:
    """PYTHONPATH for a process that imports this package."""
    here = str(Path(__file__).resolve().parent.parent)
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])


def environment(row: Candidate, threads: int) -> dict[str, str]:
    """The variables that set the threads of every library here, where modules lie, and the row's own."""
    n = str(threads)
    names = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC"
    eigen = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"} if threads == 1 else {}
    only_cpu = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    modules = {"PYTHONPATH": path_of_modules()}
    return dict.fromkeys(names, n) | eigen | only_cpu | modules | dict(row.environment)
