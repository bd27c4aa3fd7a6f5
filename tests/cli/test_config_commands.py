"""config check and config show."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hotfolder.cli.config import run_check, run_show
from hotfolder.errors import ConfigError, ExitCode
from hotfolder.folders.layout import Layout

SECRETS = """
[gate]
# a comment
keep = 6.0
[notify]
urls = ["ntfys://me:sesame-open@push.example.com/topic", "slack://TokenA/TokenB/TokenC"]
[hooks]
on_keep = ["curl", "--user", "me:sesame-two", "https://example.org"]
[models]
mirror = "https://mirror.example.org/?key=sesame-three"
[[inbox]]
name = "portraits"
kind = "score"
gate = { keep = 7.0, upscale = 7.5 }
"""


def configure(layout: Layout, text: str, place: str = "hotfolder.toml") -> None:
    path = layout.root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def shown(layout: Layout, capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, tuple[Any, str]]:
    run_show(layout.root, as_json=True, **{"changed": False, **options})
    document = json.loads(capsys.readouterr().out)
    assert document["file"] == str(layout.root / "hotfolder.toml")
    return {row["key"]: (row["value"], row["source"]) for row in document["settings"]}


def test_each_value_is_shown_with_where_it_comes_from(
    layout: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(layout, SECRETS)
    monkeypatch.setenv("HOTFOLDER_GATE__MAX_ATTEMPTS", "2")
    found = shown(layout, capsys)
    assert found["gate.keep"] == (6.0, "hotfolder.toml:4")
    assert found["gate.max_attempts"] == (2, "$HOTFOLDER_GATE__MAX_ATTEMPTS")
    assert found["gate.upscale"] == (7.0, "default")
    wanted = {"name": "portraits", "kind": "score", "gate": {"keep": 7.0, "upscale": 7.5}}
    assert found["inbox[0]"] == (wanted, "hotfolder.toml:11")
    assert set(shown(layout, capsys, changed=True)) == {
        "gate.keep", "gate.max_attempts", "notify.urls", "hooks.on_keep", "models.mirror", "inbox[0]",
    }  # fmt: skip
    run_show(layout.root, changed=True, as_json=False)
    text = capsys.readouterr().out
    assert [line.split() for line in text.splitlines() if line.startswith("gate.keep")] == [
        ["gate.keep", "6.0", "hotfolder.toml:4"]
    ]


def test_what_is_secret_is_not_shown(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    configure(layout, SECRETS)
    found = shown(layout, capsys)
    assert found["hooks.on_keep"][0] == ["curl", "***", "***", "***"]
    assert found["notify.urls"][0] == ["ntfys://***", "slack://***"]
    assert found["models.mirror"][0] == "https://mirror.example.org/?key=***"
    run_show(layout.root, changed=False, as_json=False)
    text = capsys.readouterr().out + json.dumps(found)
    assert not any(word in text for word in ("sesame", "TokenA", "TokenB"))


def test_a_check_finds_what_would_be_refused(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    def check() -> tuple[ExitCode, list[str]]:
        code = run_check(layout.root, as_json=True)
        document = json.loads(capsys.readouterr().out)
        assert document["good"] == (code == ExitCode.DONE)
        return code, [problem["message"] for problem in document["problems"]]

    before = sorted(layout.root.rglob("*"))
    assert check() == (ExitCode.DONE, [])
    configure(layout, "[gate]\nkeep = 9\n", "inbox/score/good/hotfolder.toml")
    configure(layout, "[gate]\nkep = 9\n", "inbox/score/a/b/hotfolder.toml")
    configure(layout, "[hooks]\non_idle = ['x']\n", "inbox/upscale/hotfolder.toml")
    code, problems = check()
    assert code is ExitCode.USAGE
    assert [problem.partition(":")[0] for problem in problems] == [
        "inbox/score/a/b/hotfolder.toml",
        "inbox/score/good/hotfolder.toml",  # keep is above upscale there
        "inbox/upscale/hotfolder.toml",
    ]
    for name in ("a/b", "good"):
        (layout.root / "inbox/score" / name / "hotfolder.toml").unlink()
    (layout.root / "inbox/upscale/hotfolder.toml").unlink()
    configure(layout, '[generate]\nmodel = "sdxl-turbo"\n')
    code, (problem,) = check()
    assert (code, "sdxl-turbo" in problem) == (ExitCode.MODEL_MISSING, True)
    configure(layout, "[gate]\nkep = 9\n")
    code, (problem,) = check()
    assert (code, "unknown key 'gate.kep'" in problem) == (ExitCode.USAGE, True)
    with pytest.raises(ConfigError):
        run_show(layout.root, changed=False, as_json=False)
    configure(layout, "")
    assert run_check(layout.root, as_json=False) is ExitCode.DONE
    assert "nothing to object" in capsys.readouterr().out
    assert [path for path in sorted(layout.root.rglob("*")) if path in before] == before
