"""How much of the work at a picture is its drawing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from hotfolder.core.drawing import Drawing, default_megapixels, megapixels_worked, steps_of
from hotfolder.types import Outcome, SourceFacts, Staged


@pytest.mark.parametrize(
    ("drawing", "defaults", "family", "steps"),
    [
        (Drawing("m", steps=50), {"steps": 4}, "sdxl", 50),
        (Drawing("m"), {"steps": 4}, "sdxl", 4),
        (Drawing("m"), {}, "", None),
        (Drawing("m"), {"steps": "many"}, "", None),
        (Drawing("m"), {"steps": -1}, "", None),
        (Drawing("m"), {"steps": float("inf")}, "", None),
        (Drawing("m"), {"steps": float("nan")}, "", None),
        (Drawing("m", 30, 0.5, has_init_image=True), {}, "sdxl", 15),
        (Drawing("m", 30, has_init_image=True), {}, "sdxl", 22.5),
        (Drawing("m", 30, has_init_image=True), {"strength": 0.2}, "", 6),
        (Drawing("m", 30, has_init_image=True), {"strength": "much"}, "", 22.5),
        (Drawing("m", 30, 0.5), {}, "sdxl", 30),  # there is nothing that it could begin from
        (Drawing("m", 30, has_init_image=True), {}, "flux2-dev", 30),  # it looks at it, and begins from noise
        (Drawing("m", 30), {"steps": 8}, "qwen-image-2.1-turbo", 8),  # whatever is asked
        (Drawing("m", 30), {"steps": 8}, "no such family", 30),
    ],
)
def test_how_many_steps_are_gone_through(
    drawing: Drawing, defaults: Mapping[str, Any], family: str, steps: float | None
) -> None:
    assert steps_of(drawing, defaults, family) == (None if steps is None else pytest.approx(steps))


def test_megapixels_that_were_worked() -> None:
    read, made = SourceFacts("0", 2000, 1000), Staged("a", "0", 2000, 1000, {"steps": 50})
    half = Staged("a", "0", 2000, 1000, {"steps": 50, "strength": 0.5})
    assert megapixels_worked(Outcome(1, 1, source=read)) == pytest.approx(2)
    assert megapixels_worked(Outcome(1, 1, source=read, staged=made)) == pytest.approx(2)  # enlarged
    assert megapixels_worked(Outcome(1, 1, staged=made)) == pytest.approx(100)
    assert megapixels_worked(Outcome(1, 1, staged=half)) == pytest.approx(50)
    assert megapixels_worked(Outcome(1, 1, staged=Staged("a", "0", 2000, 1000))) == 0  # not known
    assert megapixels_worked(Outcome(1, 1)) == 0


def test_the_size_that_a_model_draws_by_itself() -> None:
    assert default_megapixels({"width": 1000, "height": 500}) == pytest.approx(0.5)
    assert default_megapixels({"width": 1000}) is default_megapixels({"width": "wide", "height": 500}) is None
