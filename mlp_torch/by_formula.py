"""A rule of `manual` as a torch optimizer, for the rules that torch has not: the formula is the reference."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from manual.optimizers import Optimizer


class ByFormula(torch.optim.Optimizer):
    """`rule`'s update of each parameter, in NumPy, in place; its moments are kept as torch keeps its own.

    lr and `options` are those of the rule, with its defaults. Raises TypeError for another option.
    """

    def __init__(
        self, rule: type[Optimizer], params: Iterable[Tensor], lr: float | None = None, **options: Any
    ) -> None:
        known = list(inspect.signature(rule).parameters.values())[1:]
        defaults = {option.name: option.default for option in known}
        unknown = set(options) - set(defaults)
        if unknown:
            raise TypeError(f"{rule.__name__} takes no {', '.join(sorted(unknown))}")
        self.rule = rule
        super().__init__(params, defaults | options | ({} if lr is None else {"lr": lr}))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch overloads it
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            options = {name: value for name, value in group.items() if name in self.defaults}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, options)
        return loss

    def _update(self, parameter: Tensor, options: dict[str, Any]) -> None:
        state = self.state[parameter]
        value = parameter.detach().cpu().numpy()  # on the CPU its own memory, elsewhere a copy
        rule = self.rule({"": value}, **options)
        rule.state[""] = {kind: moment.cpu().numpy() for kind, moment in state.items() if kind != "step"}
        rule.steps = int(state.get("step", 0))
        rule.step({"": parameter.grad.detach().cpu().numpy()})  # type: ignore[union-attr]  # `step` has looked
        if parameter.device.type != "cpu":
            parameter.copy_(torch.from_numpy(value))
        for kind, moment in rule.state[""].items():
            state[kind] = torch.from_numpy(moment).to(parameter.device)
        state["step"] = torch.tensor(float(rule.steps))
