"""What the engines that train an nn.Module do alike: predict, and copy its weights out and in."""

from collections.abc import Mapping
from typing import Any

from manual.numbers import Array
from mlp_torch.model import MLP, load_arrays, state_arrays


class ModuleEngine:
    """An engine on the module `model`."""

    model: MLP

    def outputs(self, x: Array) -> Any:
        """The module's output (N, out) as a tensor, in the mode that it is in."""
        raise NotImplementedError

    def predict(self, x: Array) -> Array:
        """The output (N, out) in evaluation mode; the module's mode is left as it was."""
        training = self.model.training
        self.model.eval()
        try:
            output: Array = self.outputs(x).cpu().numpy()
            return output
        finally:
            self.model.train(training)

    def parameters(self) -> dict[str, Array]:
        """A copy of the parameters and buffers, by `state_dict` name."""
        return state_arrays(self.model)

    def load(self, parameters: Mapping[str, Array]) -> None:
        """Write such a copy back, bit for bit; the optimizer's moments stay as they are."""
        load_arrays(self.model, parameters)
