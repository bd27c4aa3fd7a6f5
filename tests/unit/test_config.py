"""hotfolder.toml: what is refused, and how; the committed presets."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli

from hotfolder import presets
from hotfolder.config import load
from hotfolder.errors import ConfigError, UsageError
from hotfolder.root import find_root
from hotfolder.settings import Settings
from hotfolder.types import Kind

CONFIG = Path(__file__).resolve().parents[2] / "config"


def write(folder: Path, text: str) -> Path:
    (folder / "hotfolder.toml").write_text(text)
    return folder


@pytest.mark.parametrize("name", presets.PRESETS)
def test_the_committed_presets_are_what_init_writes(name: str) -> None:
    assert (CONFIG / f"{name}.toml").read_text() == presets.render(name)


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_preset_is_valid_and_says_every_key(name: str) -> None:
    text = presets.render(name)
    settings = Settings.model_validate(tomli.loads(text))
    assert settings.gate.keep == 6.5
    for section in Settings.model_fields:
        assert f"[{section}]" in text
        for key in getattr(settings, section).model_fields_set | set(
            type(getattr(settings, section)).model_fields
        ):
            assert f"\n{key} = " in text or f"\n# {key} = " in text, (section, key)


def test_the_tiny_preset_is_the_defaults() -> None:
    settings = Settings.model_validate(tomli.loads(presets.render("tiny")))
    assert settings == Settings()
    assert settings.default_model(Kind.SCORE) == "technical"


@pytest.mark.parametrize(
    ("text", "says", "fix"),
    [
        ("[gate]\nkep = 6", "unknown key 'gate.kep'", "did you mean 'keep'?"),
        ("[gaet]\nkeep = 6", "unknown section 'gaet'", "did you mean 'gate'?"),
        ("[gate]\nkeep = 11", "gate.keep is 11: Input should be less than or equal to 10", "keep/"),
        ("[gate]\nkeep = 'x'", "gate.keep is 'x'", "keep/"),
        ("[gate]\nkeep = 7.5", "upscale (7) must not be below keep (7.5)", "change one"),
        ("[gate]\nregenerate_below = 7", "regenerate_below (7) must not be above keep (6.5)", "change one"),
        ("[executor]\ndevice = 'gpu'", "executor.device is 'gpu'", "cuda"),
        ("[upscale]\nformat = 'bmp'", "upscale.format is 'bmp'", "png"),
        ("[generate]\nwidth = 100", "generate.width is 100", "multiple of 8"),
        ("gate = 3", "gate is 3", "see the comments"),
        ("[gate\n", "not valid TOML", "mend the line"),
    ],
)
def test_what_is_wrong_names_file_key_and_remedy(tmp_path: Path, text: str, says: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), {})
    assert says in caught.value.message
    assert str(tmp_path / "hotfolder.toml") in caught.value.message
    assert fix in caught.value.fix


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    root = write(tmp_path, "[gate]\nkeep = 6\n")
    environ = {"HOTFOLDER_GATE__KEEP": "6.8", "HOTFOLDER_SCORE__SCORER": "laion-v2", "HOTFOLDER_ROOT": "/x"}
    settings = load(root, environ)
    assert (settings.gate.keep, settings.score.scorer) == (6.8, "laion-v2")


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"HOTFOLDER_GATE__KEEP: gate\.keep is 70"):
        load(write(tmp_path, ""), {"HOTFOLDER_GATE__KEEP": "70"})
    with pytest.raises(ConfigError, match="HOTFOLDER_GATE__KEPE: unknown key"):
        load(write(tmp_path, ""), {"HOTFOLDER_GATE__KEPE": "7"})


def test_the_root_is_found_in_the_promised_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, named, here, home = (tmp_path / name for name in ("given", "named", "here", "home"))
    for folder in (given, named, here, home / "hotfolder"):
        folder.mkdir(parents=True)
        write(folder, "")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    assert find_root(given, {"HOTFOLDER_ROOT": str(named)}) == given
    assert find_root(None, {"HOTFOLDER_ROOT": str(named)}) == named
    assert find_root(None, {}) == here
    monkeypatch.chdir(tmp_path)
    assert find_root(None, {}) == home / "hotfolder"
    with pytest.raises(UsageError, match=r"has no hotfolder\.toml"):
        find_root(tmp_path / "nothing", {})
