"""config check and config show."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from hotfolder.cli import _tell
from hotfolder.cli.config import run_check, run_show
from hotfolder.cli.doctor.command import examine
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


#: A mistake on each of some lines, and what is said of it; line 0: it is no matter of a line.
WRONG = """
gaet.keep = 6
[gate]
kep = 7
regenerate_below = 6
keep = 5
upscale = 4
[score]
scorer = [3, 4]
batch_size = 0
[generate]
model = "sdxl-turbo"
steps = "4"
[[inbox]]
name = "portraits"
kind = "score"
gate = { keep = 11, upscale = "x" }
[[inbox]]
name = "Portraits"
kind = "judge"
[inbox.upscale]
text = '''
keep = [
'''
tile = 64
[[model]]
name = "mine"
kind = "upscale"
"""
TOLD = [
    (3, "gate.kep", "unknown key"), (12, "generate.steps", "is '4'"), (8, "score.scorer[0]", "is 3"),
    (8, "score.scorer[1]", "is 4"), (9, "score.batch_size", "is 0"), (19, "inbox[1].kind", "is 'judge'"),
    (25, "model[0]", "needs files"), (1, "gaet", "unknown section"),
    (2, "gate", "upscale (4) must not be below keep (5); regenerate_below (6) must not be above keep (5)"),
    (16, "inbox[0].gate.keep", "is 11"), (16, "inbox[0].gate.upscale", "is 'x'"),
    (18, "inbox[1].name", "two inboxes are called 'Portraits'"),
    (24, "inbox[1].upscale.tile", "cannot differ"), (21, "inbox[1].upscale.text", "unknown key"),
]  # fmt: skip


def test_a_check_names_all_mistakes_in_one_go_each_with_its_place(
    layout: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOTFOLDER_GATE_KEEP", "7")
    monkeypatch.setenv("HOTFOLDER_INBOX__NAME", "x")
    monkeypatch.setenv("HOTFOLDER_RETRY__MAX_ATTEMPTS", "0")
    configure(layout, WRONG.removeprefix("\n"))
    configure(layout, "[gate]\nkeep = 0\n[hooks]\n[output]\n", "inbox/score/a/hotfolder.toml")
    configure(layout, "[gate]\nkeep = 9\n[upscale]\nmodel='none'\n", "inbox/score/a/b/hotfolder.toml")
    configure(layout, "[gate]\n[", "inbox/score/a/b/c/hotfolder.toml")
    assert run_check(layout.root, as_json=True) is ExitCode.USAGE
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert all(each["fix"] for each in problems)
    file = str(layout.root / "hotfolder.toml")
    of_file = [each for each in problems if each["where"] == file]
    assert [(each["line"], each["key"]) for each in of_file] == [(line, key) for line, key, _ in TOLD]
    for each, (line, _, says) in zip(of_file, TOLD, strict=True):
        assert each["message"].startswith(f"{file}:{line}: ")
        assert says in each["message"]
    others = [(each["where"], each["line"], each["key"]) for each in problems if each["where"] != file]
    below = "inbox/score/a"
    assert sorted(others, key=str) == sorted([
        ("HOTFOLDER_GATE_KEEP", None, None), ("HOTFOLDER_INBOX__NAME", None, "inbox"),
        ("HOTFOLDER_RETRY__MAX_ATTEMPTS", None, "retry.max_attempts"),
        (None, None, None),  # sdxl-turbo is not on this machine
        (f"{below}/hotfolder.toml", 2, "gate.keep"), (f"{below}/hotfolder.toml", 3, "hooks"),
        (f"{below}/hotfolder.toml", 4, "output"),  # what is called 'none' below it may be the model that is wrong
        (f"{below}/b/c/hotfolder.toml", 2, None),
    ], key=str)  # fmt: skip
    with pytest.raises(ConfigError) as caught:  # as it always was: the first is the error
        run_show(layout.root, changed=False, as_json=True)
    assert [each.message for each in caught.value.each] == [each["message"] for each in problems[: 3 + len(TOLD)]]
    run_check(layout.root, as_json=False)
    assert capsys.readouterr().out.count("fix: ") == len(problems)
    checks = [each.message for each in examine(layout.root) if each.name == "configuration"]
    assert checks == [each.message for each in caught.value.each]
    monkeypatch.setattr("sys.argv", ["hotfolder", "config", "show", "--json"])
    assert _tell(caught.value) is ExitCode.USAGE  # of any other command that reads it
    told = capsys.readouterr()
    error = json.loads(told.out)["error"]
    assert error["message"] == error["mistakes"][0]["message"]
    assert error["mistakes"] == problems[: len(checks)]
    assert {key: error[key] for key in ("where", "line", "key")} == {
        key: problems[0][key] for key in ("where", "line", "key")
    }
    assert told.err.count("error: ") == told.err.count("fix: ") == len(checks)


def test_an_inbox_that_does_not_go_with_a_wrong_section_is_left_out_of_a_check(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(layout, "[gate]\nkep = 5\n[[inbox]]\nname = 'good'\nkind = 'score'\ngate = { keep = 9.0 }\n")
    assert run_check(layout.root, as_json=True) is ExitCode.USAGE
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert [(each["line"], each["key"]) for each in problems] == [(2, "gate.kep")]


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ("[[model]]\nname = 'mine'\nkind = 'generate'\nloader = 5\n", "model[0].loader"),
        ("[models]\nfolder = ['/x']\n", "models.folder"),
        ("[models\n", None),
    ],
)
def test_no_model_is_missed_whose_entry_or_folder_is_wrong(
    layout: Layout, capsys: pytest.CaptureFixture[str], wrong: str, key: str | None
) -> None:
    configure(layout, f"[generate]\nmodel = 'mine'\n{wrong}")
    configure(layout, "[generate]\nmodel = 'mine'\n", "inbox/generate/a/hotfolder.toml")
    run_check(layout.root, as_json=True)
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert [each["key"] for each in problems] == [key]


def test_of_a_file_that_is_no_toml_the_environment_is_still_looked_at(
    layout: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(layout, "[gate]\nkeep = 7\nupscale = 9 9\n")
    monkeypatch.setenv("HOTFOLDER_GATE__KEEP", "8")  # goes with the 9 that could not be read
    monkeypatch.setenv("HOTFOLDER_RETRY__MAX_ATTEMPTS", "0")
    run_check(layout.root, as_json=True)
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert [(each["where"], each["line"]) for each in problems] == [
        (str(layout.root / "hotfolder.toml"), 3),
        ("HOTFOLDER_RETRY__MAX_ATTEMPTS", None),
    ]


def test_any_number_of_mistakes_is_told_in_short(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever may drop files may write them."""
    configure(layout, "".join(f"key{number} = 1\n" for number in range(5_000)), "inbox/score/hotfolder.toml")
    configure(layout, "[gate]\n" + "".join(f"k{n} = 1\n" for n in range(5_000)), "inbox/upscale/hotfolder.toml")
    began = time.process_time()
    run_check(layout.root, as_json=True)
    assert time.process_time() - began < 10  # where each mistake looked through the whole file it took 16
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert len(problems) == 202
    assert [each["message"] for each in problems if "and more mistakes" in each["message"]] == [
        "inbox/score/hotfolder.toml: and more mistakes than are told",
        "inbox/upscale/hotfolder.toml: and more mistakes than are told",
    ]
