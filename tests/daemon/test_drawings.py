"""How much work there is in drawing what waits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.core.drawing import Drawing
from hotfolder.core.estimate import OpenJobs
from hotfolder.daemon.drawings import Drawings
from hotfolder.folders.layout import Layout
from hotfolder.ledger.lately import JudgedLately
from hotfolder.types import GenerateParams, Job, Kind, PromptSpec, Role, ScoreParams
from tests.support.roots import settings

DRAW = Kind.GENERATE


def waiting(model: str, **said: object) -> OpenJobs:
    return OpenJobs(DRAW, 1, drawing=replace(Drawing(model), **said))  # type: ignore[arg-type]


def job(kind: Kind = DRAW, model: str = "shapes", **said: object) -> Job:
    request = GenerateParams(replace(PromptSpec("a cat", "", 1), **said))  # type: ignore[arg-type]
    params = request if kind is DRAW else ScoreParams(generated=request)
    return Job(1, kind, 1, "inbox/generate/p.txt", None, model, 1, 1, 0.0, params)


def test_what_a_prompt_leaves_open_its_model_says(layout: Layout) -> None:
    drawings = Drawings(FolderSettings(layout.root, settings(layout)))
    assert drawings.known(waiting("shapes")).steps == 8
    assert drawings.known(waiting("shapes", steps=50)).steps == 50
    assert drawings.known(waiting("shapes")).usual_megapixels == pytest.approx(128 * 128 / 1e6)
    assert drawings.known(waiting("shapes", has_init_image=True)).usual_megapixels is None
    dropped = OpenJobs(Kind.SCORE, 3)
    assert drawings.known(dropped) is dropped


def test_a_model_that_is_not_here_or_no_model_at_all_stops_nothing(layout: Layout) -> None:
    """Until pictures of it were judged, which say in how many steps they were drawn."""
    drawings = Drawings(FolderSettings(layout.root, settings(layout)))
    for model in ("flux-dev", "no such model", "/no/such/file.safetensors", "a\nb", "x" * 5000, ""):
        assert (drawings.known(waiting(model)).steps, drawings.known(waiting(model)).usual_megapixels) == (
            None,
            None,
        )
        assert drawings.megapixels([job(model=model)]) is None
    newest = JudgedLately("p", Role.GENERATED, 5.0, 1, False, False, 2.0, 1.0, None, "flux-dev", 20.0)
    drawings.learn([newest, replace(newest, steps=30.0, at=1.0), replace(newest, model=None, steps=None)])
    assert drawings.known(waiting("flux-dev")).steps == 20
    assert drawings.known(waiting("flux-dev", steps=4)).steps == 4


def test_a_model_whose_files_are_nonsense_stops_nothing(layout: Layout) -> None:
    drawings = Drawings(FolderSettings(layout.root, settings(layout)))
    folder = layout.root / "model"
    folder.mkdir()
    for text in ("", "[]", '{"_class_name": 5}', "[" * 5000, '{"a":' * 5000):
        (folder / "model_index.json").write_text(text)
        assert drawings.megapixels([job(model=str(folder))]) is None


def test_what_is_drawn_together_and_nothing_else(layout: Layout) -> None:
    drawings = Drawings(FolderSettings(layout.root, settings(layout)))
    asked = job(width=1000, height=500, steps=20)
    assert drawings.megapixels([asked, asked]) == pytest.approx(2 * 0.5 * 20)
    assert drawings.megapixels([job()]) == pytest.approx(128 * 128 / 1e6 * 8)
    assert drawings.megapixels([job(init_image="a.png", steps=20)]) is None  # it brings its own size
    assert drawings.megapixels([asked, job(Kind.SCORE)]) is None
    assert drawings.megapixels([replace(asked, params=None)]) is None


def test_settings_that_were_read_anew_have_other_models(layout: Layout) -> None:
    known = FolderSettings(layout.root, settings(layout))
    drawings = Drawings(known)
    assert drawings.known(waiting("shapes")).steps == 8
    config = layout.root / "hotfolder.toml"
    own = '[[model]]\nname = "shapes"\nkind = "generate"\nfamily = "sd15"\nbuiltin = true\ndefaults = { steps = 30 }\n'
    config.write_text(config.read_text() + own)
    known.change(settings(layout))
    assert drawings.known(waiting("shapes")).steps == 30
