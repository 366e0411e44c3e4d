"""Which tests judge which module: few and fast, and enough to see every slip of a formula."""

ALGEBRA = ("tests/manual/algebra/test_rows.py",)
AUTOGRAD = (
    "tests/mlp_torch/test_gradients_at_kinks.py",
    "tests/mlp_torch/test_gradients_far_out.py",
)

TESTS: dict[str, tuple[str, ...]] = {
    "manual/activations.py": (
        *ALGEBRA,
        *AUTOGRAD,
        "tests/manual/test_decisions.py",
        "tests/mlp_torch/test_gradients_match_autograd.py::"
        "test_the_slope_of_a_layer_without_a_unit_below_0_has_gradient_0_and_is_no_evidence",
    ),
    "manual/losses.py": (
        *ALGEBRA,
        *AUTOGRAD,
        "tests/manual/test_losses.py",
        "tests/manual/test_decisions.py",
        "tests/manual/test_network.py",
        "tests/manual/test_recipe.py",
        "tests/manual/test_optimizers.py::test_penalties_are_autograds_also_at_zero",
    ),
    "manual/optimizers.py": ("tests/manual/test_optimizers.py",),
    "manual/layers.py": (
        *ALGEBRA,
        "tests/manual/test_layers.py",
        "tests/manual/test_trace.py",
        "tests/manual/test_weights.py",
    ),
    "manual/chain.py": (
        "tests/manual/test_chain.py",
        "tests/manual/test_trace.py",
        "tests/manual/test_recipe.py::test_penalties_leave_biases_alone_and_are_the_gradient_of_their_value",
    ),
}
