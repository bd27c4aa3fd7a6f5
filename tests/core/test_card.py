"""Which generator fits which card, by the sizes of reference tables: what people have, from 4 to 80 GB."""

from __future__ import annotations

import pytest

from hotfolder.cli.card import parts_of
from hotfolder.core.card import Card, Parts, plan_of, propose
from hotfolder.models.registry import Catalogue

GB = 10**9
KNOWN = {entry.name: parts for entry in Catalogue().entries() if (parts := parts_of(entry)) is not None}


def card(gib: int, *, nf4: bool = True, ram: int | None = None) -> Card:
    return Card("a card", gib << 30, ram, nf4)


@pytest.mark.parametrize(
    ("gib", "nf4", "preset", "plan", "better"),
    [
        (4, True, "sdxl-turbo", "nf4", None),
        (4, False, "tiny", None, "sdxl-turbo"),
        (8, True, "flux2-klein", "int8", None),
        (8, False, "sdxl-turbo", "offload", "flux2-klein"),
        (12, False, "flux2-klein", "offload", None),
        (16, False, "z-image-turbo", "offload", None),
        (24, False, "z-image-turbo", "tiled", None),
        (48, False, "z-image-turbo", "full", None),
    ],
)
def test_what_is_proposed(gib: int, nf4: bool, preset: str, plan: str | None, better: str | None) -> None:
    found = propose(card(gib, nf4=nf4), KNOWN)
    assert (found.preset, found.plan, found.better) == (preset, plan, better)


def test_without_a_gpu_it_is_tiny() -> None:
    found = propose(None, KNOWN)
    assert (found.preset, found.plan, found.better) == ("tiny", None, None)


@pytest.mark.parametrize(
    ("model", "plans"),
    [
        ("z-image-turbo", {8: "nf4", 12: "fp8", 16: "offload", 24: "tiled", 48: "full"}),
        ("flux2-klein", {8: "int8", 12: "offload", 16: "offload", 24: "full"}),
        ("flux2-klein-9b", {12: "int8", 24: "offload", 48: "full"}),
        ("flux2-dev", {16: None, 24: "nf4", 80: "offload"}),
        ("qwen-image", {16: "nf4", 24: "fp8", 48: "offload", 80: "full"}),
        ("sd35-medium", {8: "int8", 16: "offload", 24: "full"}),
    ],
)
def test_the_plan_of_a_model_on_each_card(model: str, plans: dict[int, str | None]) -> None:
    assert {gib: plan_of(KNOWN[model], card(gib)) for gib in plans} == plans


def test_parts_that_wait_for_their_turn_need_the_machines_memory() -> None:
    parts = Parts(12 * GB, 8 * GB)
    assert plan_of(parts, card(16, ram=64 << 30)) == "offload"
    assert plan_of(parts, card(16, ram=16 << 30)) == "nf4"
    assert plan_of(parts, card(16, ram=16 << 30, nf4=False)) is None
    assert plan_of(parts, card(48, ram=16 << 30)) == "full"
    # Layer by layer on any card, if it is known that they can wait.
    assert plan_of(parts, card(4, ram=64 << 30, nf4=False)) == "group"
    assert plan_of(parts, card(4, ram=16 << 30, nf4=False)) is None
    assert plan_of(parts, card(4, ram=16 << 30)) is None
