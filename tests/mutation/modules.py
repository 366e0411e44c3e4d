"""Which tests judge which modules: few and fast, and enough to see every slip of a formula."""

from dataclasses import dataclass

ROWS = "tests/manual/algebra/test_rows.py"
KINKS = "tests/mlp_torch/test_gradients_at_kinks.py"
FAR_OUT = "tests/mlp_torch/test_gradients_far_out.py"


@dataclass(frozen=True)
class Subject:
    """The modules that are changed, and the tests that must see it."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


def both_shelves(name: str) -> tuple[str, str]:
    return f"manual/{name}.py", f"manual/catalogue/{name}.py"


SUBJECTS: dict[str, Subject] = {
    "activations": Subject(
        both_shelves("activations"), (ROWS, KINKS, FAR_OUT, "tests/manual/test_decisions.py")
    ),
    "losses": Subject(
        both_shelves("losses"),
        (
            ROWS,
            KINKS,
            FAR_OUT,
            "tests/manual/test_losses.py",
            "tests/manual/test_decisions.py",
            "tests/manual/test_network.py",
            "tests/manual/test_recipe.py::test_equal_weights_change_nothing_and_an_unequal_one_does",
            "tests/manual/test_recipe.py::test_a_weighted_mean_is_exact_in_fractions",
            "tests/manual/test_optimizers.py::test_penalties_are_autograds_also_at_zero",
        ),
    ),
    "optimizers": Subject(
        (*both_shelves("optimizers"), "manual/catalogue/schedules.py"),
        ("tests/manual/test_optimizers.py", "tests/manual/test_schedules.py"),
    ),
    "layers": Subject(
        both_shelves("layers"),
        (
            ROWS,
            "tests/manual/test_chain.py",
            "tests/manual/test_layers.py",
            "tests/manual/test_trace.py",
            "tests/manual/test_weights.py",
        ),
    ),
    "chain": Subject(
        ("manual/chain.py",),
        (
            "tests/manual/test_chain.py",
            "tests/manual/test_trace.py",
            "tests/manual/test_recipe.py::"
            "test_penalties_leave_biases_alone_and_are_the_gradient_of_their_value",
        ),
    ),
    "bounds": Subject(
        tuple(
            f"mlp_torch/verify/{name}.py" for name in ("kinds/linear", "kinds/dropout", "rounding", "bits")
        ),
        tuple(
            f"tests/mlp_torch/verify/test_{name}"
            for name in (
                "higham.py",
                "bits.py",
                "edges.py::test_a_bias_whose_every_addition_rounds_down_is_within_both_bounds",
                "rounding.py::test_gamma_is_highams_and_infinite_where_it_says_nothing",
                "rounding.py::test_up_is_above_any_float64_evaluation_of_the_bound",
            )
        ),
    ),
}
