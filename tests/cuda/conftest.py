"""What the tests on a card share. None of it runs elsewhere: tests/conftest.py skips what is marked `cuda`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch

from hotfolder.bench.pictures import write_pictures
from hotfolder.bench.weights import save_random_clip, save_random_head, save_random_upscaler
from hotfolder.engines.device import free_memory, pick_device
from tests.support import tiny

Once = Callable[..., Any]
Ballast = Callable[[int], AbstractContextManager[None]]
MIB = 2**20


@pytest.fixture(scope="session")
def card() -> torch.device:
    """As production takes it: float32 is float32 on it."""
    return pick_device("cuda")


@pytest.fixture(scope="session")
def once() -> Once:
    """`once(make, …)`: what `make(…)` gives, made once. For what float32 on the CPU finds, for all precisions."""
    return functools.cache(lambda make, *given: make(*given))


@pytest.fixture
def ballast(card: torch.device) -> Ballast:
    """`with ballast(300):` only so many MiB of the card are free, for everybody."""

    @contextlib.contextmanager
    def fill(leave_mib: int) -> Iterator[None]:
        free_memory(card)
        held = []
        left, most = torch.cuda.mem_get_info(card)[0] - leave_mib * MIB, 2**30
        while left > 0 and most >= MIB:  # in pieces: one of all that is free may not be had
            size = min(left, most)
            try:
                held.append(torch.empty(size, dtype=torch.uint8, device=card))
                left -= size
            except torch.OutOfMemoryError:
                most //= 2
        try:
            yield
        finally:
            held.clear()
            free_memory(card)

    return fill


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks of the real architectures with random weights, and tiny pipelines of each family."""
    folder = tmp_path_factory.mktemp("models")
    save_random_clip(folder)
    save_random_head(folder)
    for architecture in ("rrdb", "compact"):
        save_random_upscaler(folder, architecture)
    for family in ("sd15", "sdxl", "flux"):
        getattr(tiny, family)().save_pretrained(folder / family)
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """To be read, and left as they are."""
    return tuple(write_pictures(tmp_path_factory.mktemp("pictures"), 6, 256, "png"))
