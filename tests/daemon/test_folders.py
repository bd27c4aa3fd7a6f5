"""Inboxes of one's own, settings in sub-folders, and settings that change while the daemon runs."""

from __future__ import annotations

import json
import logging
import signal
from pathlib import Path
from typing import Any

import pytest

from hotfolder.cli.why import explain
from hotfolder.config import loading
from hotfolder.config.folder_settings import FolderSettings
from hotfolder.config.root import find_root, find_root_if_any
from hotfolder.config.sections.scoring import GateSettings
from hotfolder.config.settings import sections
from hotfolder.daemon.loop import Daemon
from hotfolder.errors import ConfigError, UsageError
from hotfolder.folders.layout import Layout
from hotfolder.types import Kind
from tests.faults.disks import working
from tests.support.live import LiveDaemon, wait_for
from tests.support.roots import QUICK, check_consistent, daemon, files_in, picture, rows, settings
from tests.support.scripted import ScriptedExecutor, always

PORTRAITS = """
[[inbox]]
name = "portraits"
kind = "score"
gate = { keep = 5.0, upscale = 9.0 }
[[inbox]]
name = "drawings"
kind = "upscale"
upscale = { scale = 2, format = "webp", min_gain = 1.0 }
[[inbox]]
name = "ideas"
kind = "generate"
generate = { steps = 3, negative_prompt = "blur" }
"""


def configure(layout: Layout, text: str) -> None:
    (layout.root / "hotfolder.toml").write_text(text)


def write(layout: Layout, path: str, text: str) -> Path:
    file = layout.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_an_inbox_of_its_own_has_its_own_settings_and_results(layout: Layout) -> None:
    configure(layout, PORTRAITS)
    picture(layout.root / "inbox/portraits/sub/a.png", 1)
    picture(layout.inbox(Kind.SCORE) / "b.png", 2)
    picture(layout.root / "inbox/drawings/c.png", 3)
    write(layout, "inbox/ideas/d.txt", "a cat --seed 1")
    executor = ScriptedExecutor(always(5.0))
    daemon(layout, executor).run(once=True)
    assert files_in(layout, "keep", "reject", "upscaled", "archive") == [
        "archive/drawings/c.png",
        "archive/ideas/d.txt",
        "keep/portraits/sub/a.png",
        "reject/b.png",
        "reject/ideas/d-s1.png",
        "upscaled/drawings/c_4x.regressed.png",  # the same score twice is no gain of 1.0
    ]
    check_consistent(layout)
    params = {b.kind: [dict(item.params) for item in b.items] for b in executor.batches}
    assert params[Kind.UPSCALE] == [{"scale": 2.0, "format": "webp"}]
    assert params[Kind.GENERATE][0]["steps"] == 3
    assert params[Kind.GENERATE][0]["negative_prompt"] == "blur"


def test_a_sub_folder_has_its_own_gate_and_passes_it_on(layout: Layout) -> None:
    write(layout, "inbox/score/strict/hotfolder.toml", "[gate]\nkeep = 9\nupscale = 9.5\n")
    write(layout, "inbox/score/strict/lax/hotfolder.toml", "[gate]\nkeep = 5.0\n")
    for number, folder in enumerate(("strict", "strict/lax", "strict/lax/deep", "other")):
        picture(layout.inbox(Kind.SCORE) / folder / "a.png", number)
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert files_in(layout, "keep", "reject") == [
        "keep/other/a.png",
        "keep/strict/lax/a.png",
        "keep/strict/lax/deep/a.png",
        "reject/strict/a.png",
    ]
    assert files_in(layout, "inbox") == [
        "inbox/score/strict/hotfolder.toml", "inbox/score/strict/lax/hotfolder.toml",
    ]  # fmt: skip
    assert rows(layout, "SELECT count(*) FROM drops") == [(4,)]


def test_a_sub_folder_has_its_own_generation(layout: Layout) -> None:
    write(layout, "inbox/generate/hats/hotfolder.toml", "[generate]\nwidth = 64\nheight = 72\nguidance = 2.5\n")
    write(layout, "inbox/generate/hats/p.txt", "a --seed 1\nb --seed 2 --width 80")
    executor = ScriptedExecutor(always(6.6))
    daemon(layout, executor).run(once=True)
    drawn = [item.params for batch in executor.batches if batch.kind is Kind.GENERATE for item in batch.items]
    assert [(p["width"], p["height"], p["guidance"]) for p in drawn] == [(64, 72, 2.5), (80, 72, 2.5)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[gate\n", "not valid TOML"),
        ("[gate]\nkep = 7", "unknown key 'gate.kep'"),
        ("[gate]\nkeep = 70", "gate.keep is 70"),
        ("[gate]\nkeep = 9", "upscale (7) must not be below keep (9)"),
        ("[executor]\ndevice = 'cpu'", "[executor] cannot differ from folder to folder"),
        ("[upscale]\ntile = 64", "upscale.tile cannot differ from folder to folder"),
        ("gate = 7", "gate should be a section"),
        ("[generate]\nmodel = 'shape'", "did you mean 'shapes'?"),
        ("[generate]\nmodel = '/etc'", "is not below the folders for models"),
        ("[upscale]\nmodel = '/etc/passwd'", "is not below the folders for models"),
        ("[gate]\nscore = 'laion-v2'", "is not on this machine"),
        ("a = [" * 5000, "not valid TOML"),
        ('[upscale]\nmodel = "/a\\u0000b"', "is no name of a model"),
        ('[generate]\nmodel = "a\\u001bb"', "is no name of a model"),
        ("[gate]\nkeep = " + "9" * 5000, "not valid TOML"),
        ("[gate]\nkeep = 0x" + "f" * 9000, "a smaller number"),
        ("[gate]\nscore = '" + "+".join(["0.001*technical"] * 1200) + "'", "too long"),
        ("[gate]\nkeep = true", "gate.keep is True: should be a number"),
        ("[gate]\nkeep = '7'", "without quotation marks"),
    ],
)
def test_a_sub_folder_whose_settings_are_not_understood_waits(layout: Layout, text: str, says: str) -> None:
    file = write(layout, "inbox/score/sub/hotfolder.toml", text)
    picture(layout.inbox(Kind.SCORE) / "sub/deep/a.png", 1)
    picture(layout.inbox(Kind.SCORE) / "b.png", 2)
    with pytest.raises(ConfigError) as caught:
        FolderSettings(layout.root, settings(layout)).of("inbox/score/sub/deep/a.png")
    assert says in f"{caught.value.message} {caught.value.fix}"
    assert "inbox/score/sub/hotfolder.toml" in caught.value.message
    with working(daemon(layout, ScriptedExecutor(always(6.6)))):
        wait_for((layout.root / "keep/b.png").exists, 20, "the other file is done")
        told = explain(layout, Path("inbox/score/sub/deep/a.png"))
        assert told["state"] == "waiting"
        assert says in f"{told['reason']} {told['fix']}"
        file.write_text("[gate]\nkeep = 5\n")
        wait_for((layout.root / "keep/sub/deep/a.png").exists, 20, "it is taken when its settings are mended")


def test_what_reaches_out_of_a_folder_is_refused_with_its_line(layout: Layout) -> None:
    """Whoever may drop files may write such a file: of all settings, it may have those that stay within."""
    allowed = set()
    folder_settings = FolderSettings(layout.root, settings(layout))
    for section, kind in sections():
        for key, field in kind.model_fields.items():
            value = {"gate.score": "technical", "generate.sampler": "Euler", "upscale.scale": 2}.get(
                f"{section}.{key}", field.get_default()
            )
            text = f"# a comment\n[{section}]\n\n{key} = {json.dumps(value or 1)}\n"
            write(layout, "inbox/score/sub/hotfolder.toml", text)
            try:
                folder_settings.of("inbox/score/sub/a.png")
            except ConfigError as error:
                if "cannot differ" not in error.message:  # a value that fits no key of that kind
                    assert f"/hotfolder.toml:4: {section}.{key}" in error.message
                    allowed.add(f"{section}.{key}")
                    continue
                line, named = (
                    (4, f"{section}.{key}") if section in ("generate", "upscale") else (2, f"[{section}]")
                )
                assert error.message.startswith(f"inbox/score/sub/hotfolder.toml:{line}: {named} cannot differ")
                assert "can" in error.fix
            else:
                allowed.add(f"{section}.{key}")
    assert allowed == {
        *(f"gate.{key}" for key in GateSettings.model_fields),
        *(f"generate.{key}" for key in ("model", "negative_prompt", "steps", "guidance", "width", "height")),
        *(f"generate.{key}" for key in ("sampler", "unused_options", "adapt")),
        *(f"upscale.{key}" for key in ("model", "scale", "format", "min_gain")),
    }  # fmt: skip
    for text in ("[[inbox]]\nname = 'x'\nkind = 'score'", "[[model]]\nname = 'x'", "hooks.on_keep = ['sh']"):
        write(layout, "inbox/score/sub/hotfolder.toml", text)
        with pytest.raises(ConfigError, match=r"hotfolder.toml:1: \[.*\] cannot differ"):
            folder_settings.of("inbox/score/sub/a.png")


def test_a_folder_in_an_inbox_is_never_a_root(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else `hotfolder score .` there would run by settings that anybody may have dropped."""
    sub = write(layout, "inbox/score/sub/hotfolder.toml", "[hooks]\non_idle = ['x']\n").parent
    monkeypatch.chdir(sub)
    assert find_root(None, {}) == layout.root
    with pytest.raises(UsageError, match="lies in an inbox of"):
        find_root(sub, {})
    with pytest.raises(UsageError, match="lies in an inbox of"):
        find_root_if_any(None, {"HOTFOLDER_ROOT": str(sub)})


def test_settings_that_break_later_do_not_stop_what_was_taken(layout: Layout) -> None:
    """The gate is asked when the score is known; a file that was broken meanwhile counts as it was read last."""
    file = write(layout, "inbox/score/sub/hotfolder.toml", "[gate]\nkeep = 9\nupscale = 9\n")
    picture(layout.inbox(Kind.SCORE) / "sub/a.png")

    def breaks(kind: Kind, item: object) -> float:
        file.write_text("[gate\n")
        return 7.5

    daemon(layout, ScriptedExecutor(breaks)).run(once=True)
    assert files_in(layout, "keep", "reject") == ["reject/sub/a.png"]


def test_what_was_asked_leniently_is_still_refused(layout: Layout) -> None:
    write(layout, "inbox/score/sub/hotfolder.toml", "[gate\n")
    folder_settings = FolderSettings(layout.root, settings(layout))
    for _ in range(2):
        with pytest.raises(ConfigError):
            folder_settings.of("inbox/score/sub/a.png")
        assert folder_settings.policy("inbox/score/sub/a.png").gate.keep == 6.5


def test_a_run_that_ends_does_not_wait_for_settings_to_be_mended(layout: Layout) -> None:
    write(layout, "inbox/score/sub/hotfolder.toml", "[gate\n")
    picture(layout.inbox(Kind.SCORE) / "sub/a.png", 1)
    picture(layout.inbox(Kind.SCORE) / "b.png", 2)
    report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert (report.done, report.failed, report.held) == (1, 0, 1)
    assert (layout.root / "inbox/score/sub/a.png").exists()


def test_what_a_job_needs_is_fixed_when_it_is_queued(layout: Layout) -> None:
    """Size and format, also where nothing differs from the root's settings."""
    picture(layout.inbox(Kind.UPSCALE) / "a.png")
    executor = ScriptedExecutor(always(6.6))
    daemon(layout, executor, UPSCALE__FORMAT="tiff").run(once=True)
    assert executor.batches[0].items[0].params == {"scale": None, "format": "tiff"}


def test_an_inbox_that_is_gone_from_the_settings_is_finished(
    layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    configure(layout, PORTRAITS)
    write(layout, "inbox/ideas/q.txt", "a --seed 1 --count 30")

    def script(kind: Kind, item: object) -> float:
        if len(executor.batches) == 1:
            configure(layout, "")
            at_work.reload()
        return 6.6

    executor = ScriptedExecutor(script)
    at_work = Daemon(layout.root, settings(layout), executor, load=lambda: settings(layout))
    with working(at_work):
        wait_for((layout.root / "archive/ideas/q.txt").exists, 30, "what was taken is finished")
        picture(layout.root / "inbox/ideas/new.png")
    assert "[[inbox]] ideas: gone" in caplog.text
    assert "was taken away" not in caplog.text
    assert rows(layout, "SELECT count(*) FROM results WHERE source_file = 'inbox/ideas/q.txt'") == [(30,)]


def test_links_to_settings_are_not_followed(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "secret.toml").write_text("[gate]\nkeep = 1\n")
    (layout.inbox(Kind.SCORE) / "sub").mkdir()
    (layout.inbox(Kind.SCORE) / "sub/hotfolder.toml").symlink_to(tmp_path / "secret.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        FolderSettings(layout.root, settings(layout)).of("inbox/score/sub/a.png")


def test_new_settings_hold_from_then_on_and_bad_ones_never(
    layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    executor = ScriptedExecutor(always(6.6))
    at_work = Daemon(layout.root, settings(layout), executor, load=lambda: settings(layout))
    with working(at_work):
        wait_for(layout.live_status.exists, 20, "it runs")
        picture(layout.inbox(Kind.SCORE) / "a.png", 1)
        wait_for((layout.root / "keep/a.png").exists, 20, "kept at 6.5")
        configure(layout, "[gate]\nkeep = 7.0\n[executor]\nmax_pixels = 1000000\n" + PORTRAITS)
        at_work.reload()
        wait_for(lambda: "configuration read anew: 5 changes" in caplog.text, 20, "it is read")
        assert "gate.keep: 6.5 -> 7.0" in caplog.text
        assert "[[inbox]] portraits: new" in caplog.text
        assert executor.reconfigured is not None and executor.reconfigured.max_pixels == 1_000_000
        picture(layout.inbox(Kind.SCORE) / "b.png", 2)
        wait_for((layout.root / "reject/b.png").exists, 20, "rejected at 7.0")
        picture(layout.root / "inbox/portraits/c.png", 3)
        wait_for((layout.root / "keep/portraits/c.png").exists, 5, "a new inbox is watched")
        configure(layout, "[gate]\nkeep = " + "9" * 5000)
        at_work.reload()
        wait_for(lambda: "Exceeds the limit" in caplog.text, 20, "not even that ends it")
        configure(layout, "[gate]\nkeep = 70\n")
        at_work.reload()
        wait_for(lambda: "gate.keep is 70" in caplog.text, 20, "it is refused")
        assert caplog.text.count("the configuration stays as it was") == 2
        picture(layout.inbox(Kind.SCORE) / "d.png", 4)
        wait_for((layout.root / "reject/d.png").exists, 20, "still 7.0")


def test_a_reload_waits_for_what_is_in_work(layout: Layout, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    picture(layout.inbox(Kind.SCORE) / "a.png", 1)

    def script(kind: Kind, item: object) -> float:
        configure(layout, "[executor]\nmax_pixels = 1000000\n[gate]\nkeep = 7.0\n")
        at_work.reload()
        assert executor.reconfigured is None
        return 6.6

    executor = ScriptedExecutor(script)
    at_work = Daemon(layout.root, settings(layout), executor, load=lambda: settings(layout))
    with working(at_work):
        wait_for(lambda: executor.reconfigured is not None, 20, "it is reconfigured after the batch")
    assert (layout.root / "keep/a.png").exists()


def test_a_hangup_reads_the_settings_anew(layout: Layout) -> None:
    with LiveDaemon(layout) as live:
        live.watching()
        configure(layout, "[gate]\nkeep = 6.0\n")
        live.process.send_signal(signal.SIGHUP)
        live.says("gate.keep: 6.5 -> 6.0")
        configure(layout, "[gate]\nkep = 6.0\n")
        live.process.send_signal(signal.SIGHUP)
        live.says("did you mean 'keep'?")
        assert live.stop() == 0


def test_an_inbox_below_a_link_into_the_results_is_refused(layout: Layout) -> None:
    configure(layout, PORTRAITS)
    (layout.root / "inbox/portraits").symlink_to(layout.root / "keep")
    with pytest.raises(Exception, match="the same folder"):
        daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)


def test_rules_are_read_once_as_long_as_they_stay(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(layout, "inbox/score/sub/hotfolder.toml", "[gate]\nkeep = 5\n")
    reads = 0
    real = loading.read

    def counted(path: Path, *how: Any) -> dict[str, object]:
        nonlocal reads
        reads += 1
        return real(path, *how)

    monkeypatch.setattr(loading, "read", counted)
    folder_settings = FolderSettings(layout.root, loading.load(layout.root, QUICK))
    reads = 0
    assert {folder_settings.of(f"inbox/score/sub/{n}.png").gate.keep for n in range(100)} == {5.0}
    assert reads == 1
    file.write_text("[gate]\nkeep = 5.5\n")
    assert folder_settings.of("inbox/score/sub/x.png").gate.keep == 5.5
    assert folder_settings.of("inbox/score/x.png").gate.keep == 6.5
    file.unlink()
    assert folder_settings.of("inbox/score/sub/x.png").gate.keep == 6.5
