"""The model of `study.layers` as a PyTorch module: what recipes of tables train."""

from itertools import pairwise

import torch

from collegium import tree as T
from collegium.study import layers


class Layers(torch.nn.Module):
    """Linear layers with a ramp between them; called "0", "1", ... like the weights in `study.layers`."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        for number, (came, goes) in enumerate(pairwise(widths)):
            self.add_module(str(number), torch.nn.Linear(came, goes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        *hidden, last = self.children()
        for layer in hidden:
            x = torch.relu(layer(x))
        out: torch.Tensor = last(x)
        return out


def module_of(params: T.Tree) -> torch.nn.Module:
    """The network that these weights belong to."""
    shapes = [params[name]["weight"].shape for name in layers.order(params)]
    return Layers([int(shapes[0][1]), *(int(shape[0]) for shape in shapes)])
