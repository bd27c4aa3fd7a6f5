"""A network of transformers' whose linear layers multiply in half precision, and nothing else.

As in mixed.py, the residual stream, normalisation and softmax are in float32.
"""

from __future__ import annotations

import copy
from typing import Any

import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor, dtype, nn


def with_half_linears(network: nn.Module, half: dtype) -> nn.Module:
    """The same network (float32) with the products of its linear layers in `half`.

    Float32 weights are shared with `network`, which stays as it is. Takes and gives float32.
    """
    shared: dict[int, Any] = {id(each): each for each in (*network.parameters(), *network.buffers())}
    mixed = copy.deepcopy(network, shared)
    for parent in mixed.modules():
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                setattr(parent, name, _HalfLinear(child, half))
    return mixed


class _HalfLinear(nn.Module):
    def __init__(self, own: nn.Linear, half: dtype) -> None:
        super().__init__()
        self._half = half
        self._weight = own.weight.detach().to(half)
        self._bias = own.bias.detach().to(half) if own.bias is not None else None

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.to(self._half), self._weight, self._bias)
