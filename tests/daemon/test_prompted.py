"""Scorers that judge by the prompt, in the line: what becomes of dropped pictures with and without one."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hotfolder.engines.scoring.ensemble import ScorerEnsemble
from hotfolder.executors.inline import InlineExecutor
from hotfolder.folders.layout import Layout
from tests.support.roots import check_consistent, daemon, files_in, rows, settings
from tests.support.standin import StandInEncoder, StandInPrompted, StandInScorer, ensemble


def run(layout: Layout, monkeypatch: pytest.MonkeyPatch, formula: str) -> None:
    """Two orange pictures, of which one says that it was to be red."""
    eye = StandInEncoder()
    judges = ensemble(formula, StandInScorer("plain", eye), StandInPrompted("fit", eye))
    monkeypatch.setattr(ScorerEnsemble, "load", lambda *_: judges)
    text = PngInfo()
    text.add_text("parameters", "all red\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 20x10")
    inbox = layout.root / "inbox/score"
    Image.new("RGB", (20, 10), (250, 102, 0)).save(inbox / "told.png", pnginfo=text)
    Image.new("RGB", (20, 10), (250, 102, 1)).save(inbox / "silent.png")
    executor = InlineExecutor(settings(layout).runner(layout.database))
    daemon(layout, executor, GATE__UPSCALE="10").run(once=True)
    check_consistent(layout)


def test_beside_the_gate_its_row_says_why_there_is_no_score(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(layout, monkeypatch, "plain")
    assert files_in(layout, "keep", "failed") == ["keep/silent.png", "keep/told.png"]
    scored = rows(layout, "SELECT path FROM image_scores WHERE scorer = 'fit'")
    assert scored == [("keep/told.png",)]
    told = dict(rows(layout, "SELECT path, settings FROM images"))
    (note,) = json.loads(told["keep/silent.png"])["notes"]
    assert note == "it has no score by fit: no prompt of it is known"
    assert "notes" not in json.loads(told["keep/told.png"])


def test_in_the_gates_formula_it_fails_for_that_picture_and_says_what_to_do(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(layout, monkeypatch, "0.5*plain + 0.5*fit")
    assert files_in(layout, "keep", "failed") == [
        "failed/silent.png", "failed/silent.png.error.json", "keep/told.png",
    ]  # fmt: skip
    error = json.loads((layout.root / "failed/silent.png.error.json").read_text())
    assert error["kind"] == "no_prompt"
    assert "gate.score" in error["fix"]
    assert [job["attempts"] for job in error["jobs"]] == [1]  # it is not tried again
