"""Families as data, and how one is found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from hotfolder.core.families import FAMILIES, UNKNOWN, Guidance, family_called, family_with


@pytest.mark.parametrize(
    ("pipeline", "files", "name", "expected"),
    [
        ("StableDiffusionPipeline", {}, "", "sd15"),
        ("FluxPipeline", {"transformer/config.json": {"guidance_embeds": True}}, "", "flux"),
        ("FluxPipeline", {"transformer/config.json": {"guidance_embeds": False}}, "", "flux-schnell"),
        ("ZImagePipeline", {"scheduler/scheduler_config.json": {"shift": 3.0}}, "", "z-image-turbo"),
        ("ZImagePipeline", {"scheduler/scheduler_config.json": {"shift": 6.0}}, "Turbo", "z-image"),
        ("Flux2KleinPipeline", {"model_index.json": {"is_distilled": True}}, "", "flux2-klein"),
        ("Flux2KleinPipeline", {"model_index.json": {"is_distilled": False}}, "", "flux2-klein-base"),
        ("Krea2Pipeline", {"model_index.json": {"is_distilled": True}}, "", "krea2-turbo"),
        ("QwenImage21Pipeline", {"model_index.json": {"sample_sigmas": [1.0]}}, "", "qwen-image-2.1-turbo"),
        ("QwenImage21Pipeline", {"model_index.json": {"sample_sigmas": None}}, "", "qwen-image-2.1"),
        ("StableDiffusion3Pipeline", {}, "models--stabilityai--stable-diffusion-3.5-large-turbo", "sd35-turbo"),
        ("StableDiffusion3Pipeline", {"transformer/config.json": {"num_layers": 24}}, "x", "sd35-medium"),
        ("StableDiffusion3Pipeline", {"transformer/config.json": {"num_layers": 38}}, "x", "sd35"),
        ("HiDreamImagePipeline", {}, "HiDream-I1-Dev", "hidream-dev"),
        ("HiDreamImagePipeline", {}, "HiDream-I1-Full", "hidream"),
        ("SomeOtherPipeline", {}, "", None),
    ],
)
def test_a_family_is_found_by_class_files_and_name(
    pipeline: str, files: Mapping[str, Mapping[str, Any]], name: str, expected: str | None
) -> None:
    found = family_with(pipeline, lambda file: files.get(file, {}), name)
    assert (found and found.name) == expected


def test_every_family_says_what_a_prompt_leaves_out() -> None:
    for name, family in FAMILIES.items():
        assert name == family.name
        assert {"steps", "guidance", "width", "height"} <= set(family.defaults), name
        assert family.defaults["width"] % family.grid == 0, name
        assert family.pipeline.endswith("Pipeline"), name
        assert family.takes_guidance(family.defaults["guidance"]), name
        if family.guidance is not Guidance.CFG:
            assert not family.negative, name
    assert family_called("") is UNKNOWN
    assert family_called("something") is UNKNOWN


def test_the_last_of_a_class_needs_no_mark() -> None:
    """So that a folder of a known class is always of a family."""
    last = {family.pipeline: family for family in FAMILIES.values()}
    assert [family.name for family in last.values() if family.marks or family.called] == []


def test_guidance_counts_from_where_it_is_off() -> None:
    z_image, sdxl, klein = FAMILIES["z-image-turbo"], FAMILIES["sdxl"], FAMILIES["flux2-klein"]
    assert [z_image.is_guided(value) for value in (0.0, 0.5, None)] == [False, True, True]
    assert [sdxl.is_guided(value) for value in (0.0, 1.0, 1.1, None)] == [False, False, True, True]
    assert [klein.is_guided(value) for value in (0.0, 4.0, None)] == [False, False, False]
    assert [klein.takes_guidance(value) for value in (0.0, 1.0, 4.0)] == [True, True, False]


def test_the_nearest_side_is_one() -> None:
    assert [FAMILIES["flux"].near(side) for side in (1, 23, 25, 1000)] == [16, 16, 32, 992]
    assert FAMILIES["sana"].near(1000) == 992


@pytest.mark.parametrize(
    ("name", "cfg", "guidance"),
    [("z-image", 4.0, 3.0), ("krea2", 1.0, 0.0), ("sdxl", 7.0, 7.0), ("flux", 3.5, 3.5), ("qwen-image", 1.0, 1.0)],
)
def test_another_programs_cfg_scale_draws_the_same_here(name: str, cfg: float, guidance: float) -> None:
    assert family_called(name).from_plain_cfg(cfg) == guidance
