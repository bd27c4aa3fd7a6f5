"""What classes of a model's parts keep, when the model goes."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import torch

from hotfolder.engines.generation.loading import forget_kept


def _part() -> type[torch.nn.Module]:
    @functools.lru_cache(None)
    def positions(number: int) -> list[int]:
        return [number]

    class Part(torch.nn.Module):
        kept = positions

        def places(self, number: int) -> Any:
            return positions(number)

        def broken(self) -> Any:
            return gone  # noqa: F821 - that it is not there is what is tested

    gone = 1
    del gone  # its cell is empty from here on
    return Part


def test_all_that_is_kept_is_forgotten_also_beside_what_is_not_there() -> None:
    part = _part()()
    part.places(3)
    cache: Any = type(part).kept
    assert cache.cache_info().currsize == 1
    forget_kept(SimpleNamespace(components={"part": part, "name": "a text", "none": None}))
    assert cache.cache_info().currsize == 0
