"""A vision transformer whose large matrix products are in half precision, and nothing else.

The residual stream, normalisation and softmax are in float32, as in 'Mixed precision training' (Micikevicius et al.,
ICLR 2018). So is the row of the class token, from end to end: it alone becomes the embedding, and it is one of 257.
Rounding errors of the other rows mostly cancel out where attention averages them for that one.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from open_clip.transformer import QuickGELU
from torch import Tensor, nn

#: Of QuickGELU: x · sigmoid(1.702 x).
_STEEPNESS = 1.702


def with_half_products(tower: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The same tower (open_clip's ViT with QuickGELU or GELU, float32) with the products of its blocks in `dtype`.

    Float32 weights are shared with `tower`, which stays as it is. Takes and gives float32.
    """
    mixed = copy.copy(tower)
    # A shallow copy shares the table of its parts, too.
    mixed._modules = {**tower._modules, "transformer": _MixedBlocks(tower.get_submodule("transformer"), dtype)}
    return mixed


class _MixedBlocks(nn.Module):
    def __init__(self, transformer: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self._blocks = [_MixedBlock(block, dtype) for block in transformer.resblocks]

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) float32 -> the same."""
        x = x.clone()  # the blocks add to it in place
        for block in self._blocks:
            block.add_attention(x)
            block.add_mlp(x)
        return x


class _MixedBlock:
    """One block of the transformer: open_clip's own, which is float32, and its large weights in half precision."""

    def __init__(self, block: Any, dtype: torch.dtype) -> None:
        self._own = block
        self._dtype = dtype
        self._heads: int = block.attn.num_heads
        self._qkv = _half(block.attn.in_proj_weight, block.attn.in_proj_bias, dtype)
        self._out = _half(block.attn.out_proj.weight, block.attn.out_proj.bias, dtype)
        # x · sigmoid(1.702 x) is SiLU(1.702 x) / 1.702: with the factor in the weights it is rounded once, not thrice.
        self._is_quick = isinstance(block.mlp.gelu, QuickGELU)
        factor = _STEEPNESS if self._is_quick else 1.0
        inward, outward = block.mlp.c_fc, block.mlp.c_proj
        self._inward = _half(inward.weight * factor, inward.bias * factor, dtype)
        self._outward = _half(outward.weight / factor, outward.bias, dtype)

    def add_attention(self, x: Tensor) -> None:
        """Adds the attention's part to the residual stream, (n, tokens, width) float32."""
        n, tokens, width = x.shape
        seen = self._own.ln_1(x)
        class_row = x[:, 0] + self._class_attention(seen)
        qkv = F.linear(seen.to(self._dtype), *self._qkv)
        query, key, value = qkv.view(n, tokens, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        # Its kernels keep the softmax in float32.
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(n, tokens, width)
        x += F.linear(mixed, *self._out)
        x[:, 0] = class_row

    def _class_attention(self, seen: Tensor) -> Tensor:
        """(n, width) float32: what the class token gathers, of (n, tokens, width).

        Its one query goes through the keys' weights, so that no key and no value of any token is needed: some
        thousandths of the work, with float32's weights.
        """
        n, _, width = seen.shape
        attention = self._own.attn
        query_weight, key_weight, value_weight = attention.in_proj_weight.chunk(3)
        query_bias, _, value_bias = attention.in_proj_bias.chunk(3)  # the keys' adds the same to all: no effect
        per_head = (self._heads, width // self._heads, width)
        query = F.linear(seen[:, 0], query_weight, query_bias).view(n, *per_head[:2])
        towards = torch.einsum("nhd,hdw->nhw", query, key_weight.view(per_head))
        share = (torch.bmm(towards, seen.transpose(1, 2)) / per_head[1] ** 0.5).softmax(dim=-1)
        gathered = torch.einsum("nhw,hdw->nhd", torch.bmm(share, seen), value_weight.view(per_head))
        found: Tensor = attention.out_proj(gathered.reshape(n, width) + value_bias)
        return found

    def add_mlp(self, x: Tensor) -> None:
        """Adds the perceptron's part to the residual stream, (n, tokens, width) float32."""
        seen = self._own.ln_2(x)
        class_row = x[:, 0] + self._own.mlp(seen[:, 0])
        hidden = F.linear(seen.to(self._dtype), *self._inward)
        hidden = F.silu(hidden, inplace=True) if self._is_quick else F.gelu(hidden)
        x += F.linear(hidden, *self._outward)
        x[:, 0] = class_row


def _half(weight: Tensor, bias: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return weight.detach().to(dtype), bias.detach().to(dtype)
