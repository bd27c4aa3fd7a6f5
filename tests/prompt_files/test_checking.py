"""What prompts name is looked for before any work, and all that is missing is told at once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hotfolder.config.settings import Settings
from hotfolder.errors import PromptSyntax
from hotfolder.folders.layout import Layout
from hotfolder.prompt_files.checking import PromptCheck
from hotfolder.types import Place, PromptSpec


@pytest.fixture
def check(layout: Layout) -> PromptCheck:
    settings = Settings()
    return PromptCheck(layout, settings.catalogue(), settings)


def test_all_that_is_missing_is_told_at_once(check: PromptCheck) -> None:
    wanted = [
        (Place("p.txt", 1), PromptSpec("a", "", 1, model="shapes")),
        (Place("p.txt", 2), PromptSpec("a", "", 1, model="no-such-model")),
        (Place("p.txt", 3), PromptSpec("a", "", 1, model="shapes", lora=(("no-such-lora", 1.0),))),
    ]
    with pytest.raises(PromptSyntax) as caught:
        check.all_completed(wanted)
    first, second = caught.value.message.split("; ")
    assert first.startswith("p.txt:2: no model is called 'no-such-model'")
    assert second.startswith("p.txt:3: no LoRA is called 'no-such-lora'")
    assert [spec.model for spec in check.all_completed(wanted[:1])] == ["shapes"]


def test_another_programs_name_of_a_model_is_the_one_here(check: PromptCheck) -> None:
    asked = PromptSpec("a", "", 1, model="Shapes", exact=True)
    assert check.completed(Place("a.png"), asked).model == "shapes"
    with pytest.raises(PromptSyntax, match="no model is called 'Shapes'"):
        check.completed(Place("p.txt"), PromptSpec("a", "", 1, model="Shapes"))


def exact(**more: Any) -> PromptSpec:
    return PromptSpec("a cat", "", 1, exact=True, **more)


def checking(layout: Layout, **generate: Any) -> PromptCheck:
    settings = Settings().overridden({"generate": generate})
    return PromptCheck(layout, settings.catalogue(), settings)


def test_a_picture_gets_what_is_here_in_the_place_of_what_is_not_where_that_is_wanted(layout: Layout) -> None:
    asked = replace(
        exact(
            model="gone",
            lora=(("none-such", 0.5),),
            model_sha256="12ab34cd56",
            init_image="gone.png",
            strength=0.5,
        ),
        prompt="a cat by <embedding:nobody>",
    )
    with pytest.raises(PromptSyntax, match="no model is called 'gone'"):
        checking(layout).completed(Place("a.png"), asked)
    found = checking(layout, adapt=True).completed(Place("a.png"), asked)
    assert (found.model, found.model_sha256, found.lora, found.init_image, found.strength) == (
        None,
        None,
        (),
        None,
        None,
    )
    assert found.prompt == "a cat by nobody"
    assert len(found.notes) == 4
    assert found.notes[0].endswith("shapes is taken")
    named = checking(layout, adapt=True).completed(
        Place("a.png"), exact(model="shapes", model_sha256="12ab34cd56")
    )
    assert (named.model, named.model_sha256) == ("shapes", None)
    assert "taken by its name" in named.notes[0]
    with pytest.raises(PromptSyntax, match="no model is called 'gone'"):  # of a prompt file
        checking(layout, adapt=True).completed(Place("p.txt"), replace(asked, exact=False))


@pytest.fixture
def flux(layout: Layout) -> dict[str, Any]:
    """A pipeline folder that looks like FLUX.1 schnell's."""
    folder = layout.root.parent / "models" / "tiny-flux"
    (folder / "transformer").mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    (folder / "transformer" / "config.json").write_text("{}")
    return {"model": str(folder)}


def test_options_that_a_model_cannot_use_are_an_error_or_a_note(layout: Layout, flux: dict[str, Any]) -> None:
    asked = PromptSpec("a cat", "gray", 1, sampler="Heun", guidance=3.0)
    with pytest.raises(PromptSyntax, match="which has one sampler"):
        checking(layout, **flux).completed(Place("p.txt"), asked)
    found = checking(layout, **flux, unused_options="ignore").completed(Place("p.txt"), asked)
    assert (found.sampler, found.negative_prompt, found.guidance) == (None, "", None)
    assert [note.partition(" (")[0] for note in found.notes] == [
        "its sampler",
        "its negative prompt",
        "its guidance",
    ]
    with pytest.raises(
        PromptSyntax, match="whose width is a multiple of 16"
    ):  # that is no option that is not used
        checking(layout, **flux, unused_options="ignore").completed(Place("p.txt"), replace(asked, width=1000))


def test_a_picture_by_the_only_sampler_of_its_model_is_no_mistake(layout: Layout, flux: dict[str, Any]) -> None:
    check = checking(layout, **flux)
    found = check.completed(Place("a.png"), exact(sampler="Euler"))
    assert (found.sampler, found.notes) == (None, ())
    with pytest.raises(PromptSyntax, match="which has one sampler"):
        check.completed(Place("a.png"), exact(sampler="Heun"))
    assert checking(layout, **flux, adapt=True).completed(Place("a.png"), exact(sampler="Heun")).sampler is None


def test_a_negative_prompt_that_had_no_effect_is_kept(layout: Layout) -> None:
    asked = replace(exact(model="shapes", guidance=1.0), negative_prompt="gray")
    assert checking(layout).completed(Place("a.png"), asked) == asked


def test_what_would_change_the_prompt_meanwhile_is_refused(check: PromptCheck) -> None:
    with pytest.raises(PromptSyntax, match=r"^p\.txt: \[cat:dog:0\.5\] would change the prompt"):
        check.completed(Place("p.txt"), PromptSpec("a [cat:dog:0.5]", "", 1, model="shapes"))
    assert check.completed(Place("p.txt"), PromptSpec("a [cat] (dog:1.2)", "", 1, model="shapes"))


#: Of a folder: its class and what else its files say.
_FOLDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "z-turbo": ("ZImagePipeline", {"shift": 3.0}),
    "klein": ("Flux2KleinPipeline", {"is_distilled": True}),
    "sana": ("SanaPipeline", {}),
    "sdxl": ("StableDiffusionXLPipeline", {}),
    "other": ("AuraFlowPipeline", {}),
}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name, (pipeline, said) in _FOLDERS.items():
        (tmp_path / "models" / name / "scheduler").mkdir(parents=True)
        index = {"_class_name": pipeline, **said}
        (tmp_path / "models" / name / "model_index.json").write_text(json.dumps(index))
        (tmp_path / "models" / name / "scheduler/scheduler_config.json").write_text(json.dumps(said))
    return tmp_path / "models"


def _checked(models: Path, name: str, generate: dict[str, Any] | None = None, **asked: Any) -> PromptSpec:
    settings = Settings(generate=generate or {})
    check = PromptCheck(None, settings.catalogue(), settings)
    asked = {"negative_prompt": "", **asked}
    return check.completed(Place("p.txt", 1), PromptSpec("a", seed=1, model=str(models / name), **asked))


@pytest.mark.parametrize(
    ("name", "asked", "message", "fix"),
    [
        ("z-turbo", {"sampler": "Euler"}, "z-turbo is a Z-Image-Turbo model, which has one sampler", "leave"),
        ("klein", {"negative_prompt": "b"}, "klein] model, which takes no negative prompt", "leave"),
        ("klein", {"guidance": 4.0}, "of the sort that takes no guidance", "leave the guidance out"),
        ("klein", {"width": 1000}, "whose width is a multiple of 16", "use 992"),
        ("sana", {"height": 1000}, "whose height is a multiple of 32", "use 992"),
        ("z-turbo", {"negative_prompt": "b"}, "with a guidance of 0 or less", "raise the guidance"),
        ("sdxl", {"negative_prompt": "b", "guidance": 1.0}, "with a guidance of 1 or less", "raise the guidance"),
    ],
)
def test_what_a_family_has_no_use_for_is_a_mistake(
    models: Path, name: str, asked: dict[str, Any], message: str, fix: str
) -> None:
    with pytest.raises(PromptSyntax, match=message.replace("]", r"\]")) as caught:
        _checked(models, name, **asked)
    assert fix in caught.value.fix


def test_what_a_family_can_do_is_let_through(models: Path) -> None:
    assert _checked(models, "z-turbo", negative_prompt="b", guidance=0.5).negative_prompt == "b"
    assert _checked(models, "klein", guidance=1.0).guidance == 1.0
    assert _checked(models, "sdxl", sampler="Euler", width=1000).width == 1000
    assert _checked(models, "other", negative_prompt="b", sampler="Euler").negative_prompt == "b"


def test_the_configurations_defaults_are_left_out_where_they_have_no_use(models: Path) -> None:
    usual = {"negative_prompt": "blurred", "guidance": 5.0, "sampler": "Euler"}
    found = {name: _checked(models, name, usual) for name in _FOLDERS}
    assert {name: spec.negative_prompt for name, spec in found.items()} == {
        "z-turbo": "blurred", "klein": "", "sana": "blurred", "sdxl": "blurred", "other": "blurred",
    }  # fmt: skip
    assert found["klein"].guidance is None
    assert [name for name, spec in found.items() if spec.sampler] == ["sdxl", "other"]
    with pytest.raises(PromptSyntax, match="whose width is a multiple of 16"):
        _checked(models, "klein", {"width": 1000})
