"""What the tests on a card share. None of it runs elsewhere: tests/conftest.py skips what is marked `cuda`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from hotfolder.bench.pictures import write_pictures
from hotfolder.bench.weights import save_random_clip, save_random_head, save_random_upscaler
from hotfolder.engines.device import free_memory
from tests.support import tiny

Ballast = Callable[[int], AbstractContextManager[None]]
MIB = 2**20


@pytest.fixture(scope="session")
def card() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device())


@pytest.fixture
def ballast(card: torch.device) -> Ballast:
    """`with ballast(300):` only so many MiB of the card are free, for everybody."""

    @contextlib.contextmanager
    def fill(leave_mib: int) -> Iterator[None]:
        free_memory(card)
        held = []
        left = torch.cuda.mem_get_info(card)[0] - leave_mib * MIB
        while left > 0:  # in pieces: one of all that is free may not be had
            size = min(left, 2**30)
            held.append(torch.empty(size, dtype=torch.uint8, device=card))
            left -= size
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


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    return list(write_pictures(tmp_path / "pictures", 6, 256, "png"))
