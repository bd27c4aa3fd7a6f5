"""What a pipeline takes of a card is told from what others hold there, with counters that stand in for a card's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hotfolder.engines.generation.metering import Meter, bytes_of

#: 4000 bytes, of which all are on what stands in for the card.
ENCODER, DENOISER = torch.nn.Linear(1000, 1, bias=False), torch.nn.Linear(500, 1, bias=False)
PIPELINE: Any = SimpleNamespace(components={"text_encoder": ENCODER, "unet": DENOISER, "tokenizer": object()})
CPU = torch.device("cpu")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    found = {"allocated": 6000, "peak": 0}
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: found["allocated"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: found["peak"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: found.update(peak=found["allocated"]))
    return found


def _drawn(meter: Meter, card: dict[str, int], more: int) -> list[int]:
    told: list[int] = []
    with meter.drawing(told.append):
        card["peak"] = card["allocated"] + more
    return told


def test_what_others_loaded_meanwhile_is_not_the_pipelines(card: dict[str, int]) -> None:
    assert bytes_of(ENCODER) == 4000
    meter = Meter(PIPELINE, CPU, one_by_one=False)
    assert _drawn(meter, card, 700) == [6700]
    card["allocated"] += 50_000  # the models for judging
    assert _drawn(meter, card, 700) == [6700]


def test_what_was_read_before_counts_with_the_pictures(card: dict[str, int]) -> None:
    meter = Meter(PIPELINE, CPU, one_by_one=False)
    with meter.reading():
        card["peak"] = 9000
    assert _drawn(meter, card, 700) == [9000]


def test_with_parts_one_by_one_it_is_never_less_than_the_largest(card: dict[str, int]) -> None:
    card["allocated"] = 0
    parts = {"a": torch.nn.Linear(1000, 1, bias=False, device="meta"), "b": torch.nn.Identity()}
    meter = Meter(SimpleNamespace(components=parts), CPU, one_by_one=True)
    assert _drawn(meter, card, 2500) == [4000]


def test_what_failed_tells_nothing(card: dict[str, int]) -> None:
    told: list[int] = []
    with pytest.raises(MemoryError), Meter(PIPELINE, CPU, one_by_one=False).drawing(told.append):
        raise MemoryError
    assert told == []
