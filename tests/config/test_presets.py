"""A root that is there becomes another preset: what a person changed stays, and so does every other line."""

from __future__ import annotations

import pytest

from hotfolder.config import presets
from hotfolder.config.presets import PRESETS, changed, differences
from hotfolder.core import toml


def become(text: str, preset: str) -> tuple[str, dict[str, bool]]:
    found = differences(text, toml.loads(text), preset)
    new = changed(text, [each for each in found if not each.is_mine], preset)
    return new, {f"{each.section}.{each.key}": each.is_mine for each in found}


@pytest.mark.parametrize("one", PRESETS)
@pytest.mark.parametrize("other", PRESETS)
def test_every_preset_becomes_every_other(one: str, other: str) -> None:
    new, found = become(presets.render(one), other)
    assert not any(found.values())
    values = {name: {**section} for name, section in toml.loads(presets.render(other)).items()}
    told = toml.loads(new)
    for name, section in values.items():
        assert {key: told[name].get(key) for key in section} == section
    assert become(new, other) == (new, {})
    assert f"preset '{other}'" in new
    assert PRESETS[other][0] in new


def test_what_a_person_changed_stays_and_is_told() -> None:
    text = presets.render("sdxl-turbo").replace('model = "sdxl-turbo"', 'model = "mine"  # the best one')
    text = text.replace("keep = 6.5", "keep = 7.25")
    new, found = become(text, "cpu")
    assert found == {
        "generate.model": True, "upscale.model": False, "executor.device": False,
    }  # fmt: skip
    assert 'model = "mine"  # the best one' in new
    assert toml.loads(new)["gate"]["keep"] == 7.25
    assert toml.loads(new)["executor"]["device"] == "cpu"
    same = [line for line in text.split("\n") if line in new.split("\n")]
    assert len(text.split("\n")) - len(same) == 4  # two lines of the heading, two values


def test_a_file_of_ones_own_gets_what_it_lacks() -> None:
    new, found = become("# mine\n[gate]\nkeep = 7\n\n[[inbox]]\nname = 'x'\nkind = 'score'\n", "z-image-turbo")
    assert not any(found.values())
    told = toml.loads(new)
    assert (told["generate"]["model"], told["upscale"]["model"]) == ("z-image-turbo", "realesrgan-x4plus")
    assert (told["gate"], told["inbox"]) == ({"keep": 7}, [{"name": "x", "kind": "score"}])
    assert new.startswith("# mine\n")


def test_a_list_on_several_lines_is_not_cut() -> None:
    text = "# hotfolder.toml, preset 'sdxl-turbo'.\n[score]\nscorer = [\n  'laion-v2',\n]\n"
    assert become(text, "tiny")[0] == text.replace("sdxl-turbo", "tiny")  # it is a person's
    text = "# hotfolder.toml, preset 'sdxl-turbo'.\n[score]\nscorer = '''\nlaion-v2'''\n"
    with pytest.raises(ValueError, match="several lines"):
        become(text, "tiny")
