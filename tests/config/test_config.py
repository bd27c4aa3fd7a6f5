"""hotfolder.toml: what is refused, and how; the committed presets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tomli

from hotfolder.config import presets
from hotfolder.config.loading import load
from hotfolder.config.root import find_root
from hotfolder.config.sections.inboxes import OVERRIDES
from hotfolder.config.settings import ARRAYS, Settings, differences, sections
from hotfolder.errors import ConfigError, UsageError
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
    for name, section in sections():
        assert f"[{name}]" in text
        for key in section.model_fields:
            assert f"\n{key} = " in text or f"\n# {key} = " in text, (name, key)
    for array in ARRAYS:
        assert f"# [[{array}]]" in text


def test_the_tiny_preset_is_the_defaults() -> None:
    settings = Settings.model_validate(tomli.loads(presets.render("tiny")))
    assert settings == Settings()
    assert settings.default_model(Kind.SCORE) == "technical"


#: What is wrong, and what the message has to name.
WRONG = [
    ("[gate]\nkep = 6", "gate.kep"),
    ("[gaet]\nkeep = 6", "gaet"),
    ("[gate]\nkeep = 11", "gate.keep"),
    ("[gate]\nkeep = 0.5", "gate.keep"),
    ("[gate]\nkeep = nan", "gate.keep"),
    ("[gate]\nkeep = 'x'", "gate.keep"),
    ("[gate]\nkeep = '7'", "gate.keep"),
    ("[gate]\nkeep = true", "gate.keep"),
    ("[gate]\nkeep = 2026-11-21", "gate.keep"),
    ("[gate]\nkeep = [7]", "gate.keep"),
    ("[gate]\nkeep = 7.5", "keep"),
    ("[gate]\nupscale = 'nevr'", "gate.upscale"),
    ("[gate]\nupscale = 6", "upscale"),
    ("[upscale]\nmax_output_megapixels = -1", "upscale.max_output_megapixels"),
    ("[gate]\nregenerate_below = 7", "regenerate_below"),
    ("[gate]\nmax_attempts = 0", "gate.max_attempts"),
    ("[gate]\nmax_attempts = 2.5", "gate.max_attempts"),
    ("[gate]\nscore = '2*'", "gate.score"),
    ("[gate]\nscore = '0.1*technical'", "score"),
    ("[generate]\nmodel = ''", "generate.model"),
    ("[generate]\nwidth = 100", "generate.width"),
    ("[generate]\nsteps = 0", "generate.steps"),
    ("[generate]\nguidance = -1", "generate.guidance"),
    ("[score]\nscorer = []", "score.scorer"),
    ("[score]\nscorer = 3", "score.scorer"),
    ("[score]\nbatch_size = 0", "score.batch_size"),
    ("[score]\nbackground = 'blue'", "score.background"),
    ("[score]\ncrop = 'center'", "score.crop"),
    ("[score]\npositive = ['a', 'b']", "positive"),
    ("[upscale]\nformat = 'bmp'", "upscale.format"),
    ("[upscale]\nscale = 0", "upscale.scale"),
    ("[upscale]\ntile = 5", "upscale.tile"),
    ("[upscale]\ndenoise = 2", "upscale.denoise"),
    ("[settle]\nquiet_seconds = -1", "settle.quiet_seconds"),
    ("[watch]\nmode = 'inotify'", "watch.mode"),
    ("[watch]\nignore = '*.tmp'", "watch.ignore"),
    ("[watch]\npoll_seconds = 0", "watch.poll_seconds"),
    ("[executor]\ndevice = 'gpu'", "executor.device"),
    ("[executor]\nprecision = 'fp16'", "executor.precision"),
    ("[executor]\nkind = 'celery'", "executor.kind"),
    ("[executor]\nidle_unload_seconds = 100000", "executor.idle_unload_seconds"),
    ("[retry]\nmax_attempts = 1000", "retry.max_attempts"),
    ("[output]\numask = '999'", "output.umask"),
    ("[output]\numask = 22", "output.umask"),
    ("[models]\nfolders = 'x'", "models.folders"),
    ("[models]\nauto_pull = 'yes'", "models.auto_pull"),
    ("[models]\nmirror = 'ftp://x'", "models.mirror"),
    ("[hooks]\non_keep = 'rm -rf /'", "hooks.on_keep"),
    ("[hooks]\non_kept = ['x']", "hooks.on_kept"),
    ("[notify]\non = ['kept']", "notify.on"),
    ("gate = 3", "gate"),
    ("[[gate]]\nkeep = 7", "gate"),
    ("[inbox]\nname = 'a'", "inbox"),
    ("[[inbox]]\nkind = 'score'", "inbox[0].name"),
    ("[[inbox]]\nname = 'a'", "inbox[0].kind"),
    ("[[inbox]]\nname = 'a'\nkind = 'judge'", "inbox[0].kind"),
    ("[[inbox]]\nname = 'score'\nkind = 'score'", "inbox[0].name"),
    ("[[inbox]]\nname = '../x'\nkind = 'score'", "inbox[0].name"),
    ("[[inbox]]\nname = 'a'\nkind = 'score'\n[[inbox]]\nname = 'A'\nkind = 'score'", "'A'"),
    ("[[inbox]]\nname = 'a'\nkind = 'score'\n[inbox.gate]\nkeep = 12", "inbox[0].gate.keep"),
    ("[[inbox]]\nname = 'a'\nkind = 'score'\n[inbox.gate]\nkep = 7", "inbox[0].gate.kep"),
    ("[[inbox]]\nname = 'a'\nkind = 'score'\n[inbox.gate]\nkeep = 9", "inbox[0].gate"),
    ("[[inbox]]\nname = 'a'\nkind = 'upscale'\nupscale = { tile = 64 }", "upscale.tile"),
    ("[[inbox]]\nname = 'a'\nkind = 'score'\nexecutor = { device = 'cpu' }", "inbox[0].executor"),
    ("[[model]]\nname = 'X Y'\nkind = 'upscale'", "model[0].name"),
    ("[[model]]\nname = 'x'\nkind = 'scale'", "model[0].kind"),
    ("[[model]]\nname = 'x'\nkind = 'upscale'\nfiles = [{ path = 'a', url = 'https://x' }]", "model[0].files[0]"),
    ("[[model]]\nname = 'x'\nkind = 'upscale'\nfiles = [{ path = '../a' }]", "model[0].files[0].path"),
    ("[[model]]\nname = 'x'\nkind = 'upscale'\nfiles = [{ path = 'a', sha = 'x' }]", "model[0].files[0].sha"),
    ("[[model]]\nname = 'x'\nkind = 'generate'\nrepo = 'a/b'", "model[0]"),
    ("[[model]]\nname = 'x'\nkind = 'upscale'\nloader = 'laion'", "model[0]"),
    ("[[model]]\nname = 'x'\nkind = 'upscale'", "needs files"),
    (
        f"[[model]]\nname = 'x'\nkind = 'upscale'\nrepo = 'a/b'\nrevision = '{'a' * 40}'\nfiles = [{{ path = 'a' }}]",
        "sha256",
    ),
    ("[[model]]\nname = 'x'\nkind = 'encoder'\nencoder = 'x'\nfiles = [{ path = 'a' }]", "only scorers"),
    (
        "[[model]]\nname = 'x'\nkind = 'upscale'\nfiles = [{ path = 'a.pth' }, { path = 'b.pth' }]",
        "leave b.pth out",
    ),
    (
        "[[model]]\nname = 'x'\nkind = 'generate'\nbase = 'b'\nfiles = [{ path = 'a.gguf' }, { path = 't5.pt' }]",
        "leave t5.pt out",
    ),
    ("[[inbox]]\nname = 'a'\nkind = 'score'\ngate = { keep = '7' }", "inbox[0].gate.keep"),
    ("[[inbox]]\nname = 'a'\nkind = 'score'\ngate = 7", "inbox[0].gate"),
    ("[gate]\nkeep = " + "9" * 5000, "not valid TOML"),
    ("[notify]\nurls = [2020-01-01]", "notify.urls[0]"),
    ("[gate\n", "not valid TOML"),
    ("[gate]\nkeep = 7\nkeep = 8", "not valid TOML"),
    ("keep = 7", "keep"),
]


@pytest.mark.parametrize(("text", "named"), WRONG)
def test_what_is_wrong_names_file_key_and_remedy(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), {})
    assert str(tmp_path / "hotfolder.toml") in caught.value.message
    assert named in caught.value.message
    assert caught.value.fix
    assert "pydantic" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "says", "fix"),
    [
        ("[gate]\nkep = 6", "unknown key 'gate.kep'", "did you mean 'keep'?"),
        ("[gaet]\nkeep = 6", "unknown section 'gaet'", "did you mean 'gate'?"),
        ("[gate]\nkeep = 11", "gate.keep is 11: should be less than or equal to 10", "keep/"),
        ("[gate]\nkeep = '7'", "gate.keep is '7': should be a number, without quotation marks", "keep/"),
        ("[gate]\nkeep = 7.5", "upscale (7) must not be below keep (7.5)", "change one"),
        ("[hooks]\non_keep = 'x'", "hooks.on_keep: should be a list", "kept"),
        ("[executor]\ndevice = 'gpu'", "executor.device is 'gpu'", "cuda"),
        ("[generate]\nwidth = 100", "generate.width is 100", "multiple of 8"),
        ("gate = 3", "gate is 3: it should be a section", "write [gate]"),
        ("[gate\n", "not valid TOML", "mend the line"),
        ("[gate]\nkeep = 7\n[gate]\n", "[gate] stands in it twice (at line 3,", "under the [gate] that was there"),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(tmp_path: Path, text: str, says: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), {})
    assert says in caught.value.message
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
    (here / ".hotfolder").mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    assert find_root(given, {"HOTFOLDER_ROOT": str(named)}) == given
    assert find_root(None, {"HOTFOLDER_ROOT": str(named)}) == named
    assert find_root(None, {}) == here
    monkeypatch.chdir(tmp_path)
    assert find_root(None, {}) == home / "hotfolder"
    with pytest.raises(UsageError, match=r"has no hotfolder\.toml"):
        find_root(tmp_path / "nothing", {})


def test_a_variable_with_one_underscore_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="HOTFOLDER_GATE_KEEP: no setting is called so") as caught:
        load(write(tmp_path, ""), {"HOTFOLDER_GATE_KEEP": "7"})
    assert "HOTFOLDER_GATE__KEEP" in caught.value.fix
    for name in ("HOTFOLDER_KEEP", "HOTFOLDER_EXECUTOR_DEVICES", "HOTFOLDER_ROOTS"):
        with pytest.raises(ConfigError, match=f"{name}: no setting is called so"):
            load(write(tmp_path, ""), {name: "7"})
    with pytest.raises(ConfigError, match=r"^HOTFOLDER_GATE__KEEP: \[gate\] upscale"):
        load(write(tmp_path, ""), {"HOTFOLDER_GATE__KEEP": "8"})
    with pytest.raises(ConfigError, match=r"^HOTFOLDER_GTE__KEEP: unknown section"):
        load(write(tmp_path, ""), {"HOTFOLDER_GTE__KEEP": "8"})
    with pytest.raises(ConfigError, match="should be a number"):
        load(write(tmp_path, ""), {"HOTFOLDER_GATE__KEEP": "7\nupscale = 3"})
    with pytest.raises(ConfigError, match="cannot be set by the environment"):
        load(write(tmp_path, ""), {"HOTFOLDER_INBOX__NAME": "x"})


def test_the_published_schema_is_that_of_the_settings() -> None:
    assert (CONFIG / "hotfolder.schema.json").read_text() == presets.schema()
    assert (CONFIG / "prompts.schema.json").read_text() == presets.prompt_schema()
    schema = json.loads(presets.schema())
    assert set(schema["properties"]) == set(Settings.model_fields)
    inbox = schema["$defs"]["InboxSettings"]["properties"]
    assert {name: inbox[name]["$ref"] for name in OVERRIDES} == {
        "gate": "#/$defs/GateSettings", "generate": "#/$defs/GenerateSettings", "upscale": "#/$defs/UpscaleSettings",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("devices", "told"),
    [
        ("['cpu', 'gpu']", r"devices\[1\] is 'gpu': should match pattern"),
        ("[]", r"devices is \[\]: should have at least 1 item, not 0"),
        ("'all'", "devices is 'all': should be 'auto'"),
    ],
)
def test_of_a_list_that_is_wrong_the_list_is_told(tmp_path: Path, devices: str, told: str) -> None:
    """Not that the word which may stand in its place was wanted."""
    with pytest.raises(ConfigError, match=told):
        load(write(tmp_path, f"[executor]\ndevices = {devices}\n"), {})


def test_what_changed_is_told_key_by_key(tmp_path: Path) -> None:
    before = load(write(tmp_path, "[[inbox]]\nname = 'old'\nkind = 'score'\n"), {})
    after = load(write(tmp_path, "[gate]\nkeep = 6.0\n[[inbox]]\nname = 'new'\nkind = 'upscale'\n"), {})
    assert differences(before, after) == ["gate.keep: 6.5 -> 6.0", "[[inbox]] new: new", "[[inbox]] old: gone"]
    assert differences(after, after) == []
    later = load(
        write(tmp_path, "[executor]\ndevices = ['cpu']\n[output]\numask = '027'\n[gallery]\nport = 1\n"), {}
    )
    told = [line.partition(": ")[::2] for line in differences(load(write(tmp_path, ""), {}), later)]
    assert dict(told) == {
        "executor.devices": "'auto' -> ('cpu',) (when the daemon starts next)",
        "output.umask": "'' -> '027' (when the daemon starts next)",
        "gallery.port": "8642 -> 1 (when the gallery starts next)",
    }
