"""Which mistakes, made in the chain, an array could make again by itself: told apart to search less."""

from collections.abc import Sequence

from mlp_torch.check.faults.claims import Claim

# Slips of the chain that no array makes by itself, but for two of their variants.
OF_THE_CHAIN = frozenset(
    {
        "wrong_activation_derivative",
        "missing_activation_derivative",
        "activation_derivative_at_wrong_array",
        "not_multiplied_by_upstream",
        "wrong_softmax_jacobian",
        "wrong_loss_derivative",
        "loss_mismatch",
    }
)
OF_AN_ARRAY = frozenset({"array", "input"})


def of_the_chain(claims: Sequence[Claim]) -> bool:
    """Whether none of them could be made again, at no cost, in an array alone."""
    return all(claim.kind in OF_THE_CHAIN and claim.variant not in OF_AN_ARRAY for claim in claims)
