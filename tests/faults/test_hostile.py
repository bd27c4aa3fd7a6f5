"""Hostile and odd files hurt themselves at most."""

from __future__ import annotations

import json
import os
import pickle
import stat
from pathlib import Path

import psutil
import pytest
import torch

from hotfolder.errors import ConfigError, HotfolderError, ModelDamaged
from hotfolder.folders.layout import Layout
from hotfolder.models.registry import Catalogue
from hotfolder.printable import printable
from hotfolder.types import Item, Kind
from tests.faults import hostile
from tests.support.live import LiveDaemon, wait_for
from tests.support.roots import check_consistent, daemon, files_in, picture, rows, settings
from tests.support.scripted import ScriptedExecutor, always

pytestmark = pytest.mark.slow


def test_three_hundred_hostile_files(layout: Layout) -> None:
    """Each ends as a result or in failed/ with a reason; the daemon is the same from first to last, and no larger."""
    dropped = {}
    made = dict(hostile.files())
    assert len(made) >= 300
    for number, (name, data) in enumerate(made.items()):
        kind = Kind.UPSCALE if number % 7 == 0 and not name.startswith(("size-", "edge")) else Kind.SCORE
        (layout.inbox(kind) / name).write_bytes(data)
        dropped[name] = kind
    with LiveDaemon(layout, HOTFOLDER_GATE__UPSCALE="10") as line:
        line.watching()
        process = psutil.Process(line.process.pid)
        inbox = [layout.inbox(kind) for kind in (Kind.SCORE, Kind.UPSCALE)]
        wait_for(lambda: bool(rows(layout, "SELECT 1 FROM jobs WHERE state = 'done' LIMIT 1")), 300, line.text())
        early = process.memory_info().rss
        wait_for(lambda: not any(files_in(layout, "inbox")), 1200, f"all are done\n{line.text()[-3000:]}")
        wait_for(
            lambda: not rows(layout, "SELECT 1 FROM jobs WHERE state IN ('queued','running')"), 300, "all ended"
        )
        assert process.is_running()
        assert process.memory_info().rss - early < 40 << 20
        assert inbox[0].is_dir()
        assert line.stop() == 0
    check_consistent(layout)
    results = {Path(path).name for path in files_in(layout, "keep", "reject", "archive")}
    failed = {Path(path).name for path in files_in(layout, "failed") if not path.endswith(".error.json")}
    assert results | failed == set(dropped)
    assert not results & failed
    for name in failed:
        told = json.loads((layout.root / f"failed/{name}.error.json").read_text())
        assert told["kind"] not in ("failure", "worker_lost"), (name, told)
        assert told["message"]
        assert told["fix"], name
    for ending in ("png", "jpg", "webp", "tif", "gif", "bmp", "avif", "jp2", "ppm", "tga"):
        assert f"whole.{ending}" in results
    for name in ("cut-50.png", "cut-95.jpg", "bomb-huge.png", "bomb.gif", "animated.gif", "svg.png", "eps.png"):
        assert name in failed, name
    for name in ("mode-F.tif", "cmyk.jpg", "mode-CMYK.tif", "icc-broken.png", "exif-broken.jpg", "size-1x1.png"):
        assert name in results, name


class _Payload:
    """What a pickle can do: call anything."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("ending", [".pth", ".pt", ".ckpt", ".safetensors", ".bin"])
@pytest.mark.parametrize("how", ["torch", "torch-old", "pickle"])
def test_code_in_a_checkpoint_is_refused_and_does_not_run(tmp_path: Path, ending: str, how: str) -> None:
    from hotfolder.engines.scoring.laion import load_head
    from hotfolder.engines.upscaling.network import read_descriptor

    owned = tmp_path / "owned"
    path = tmp_path / f"model{ending}"
    if how == "pickle":
        path.write_bytes(pickle.dumps({"params": _Payload(owned)}))
    else:
        torch.save({"params": _Payload(owned)}, path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(ModelDamaged):
        read_descriptor(path)
    with pytest.raises(ModelDamaged):
        load_head(path)
    assert not owned.exists()
    with pytest.raises(FileExistsError):  # the payload would have worked
        owned.mkdir()
        pickle.loads(pickle.dumps(_Payload(owned)))


@pytest.mark.parametrize(
    "line",
    [
        "a --init-image ../../etc/passwd",
        "a --init-image /etc/passwd",
        "a --model ../../../etc/passwd",
        "a --model /etc/passwd",
        "a --model /etc",
        "a --lora /etc/passwd:1",
    ],
)
def test_prompt_files_reach_nothing_outside(layout: Layout, line: str) -> None:
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text(line)
    executor = ScriptedExecutor(always(6.6))
    report = daemon(layout, executor).run(once=True)
    assert report.failed == 1
    assert executor.batches == []
    assert files_in(layout, "failed") == ["failed/p.txt", "failed/p.txt.error.json"]


def test_a_link_in_the_models_folder_leads_nowhere_else(layout: Layout, tmp_path: Path) -> None:
    models, outside = tmp_path / "models", tmp_path / "outside"
    models.mkdir()
    outside.mkdir()
    (outside / "model_index.json").write_text("{}")
    (models / "link").symlink_to(outside)
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text(f"a --model {models}/link")
    executor = ScriptedExecutor(always(6.6))
    daemon(layout, executor, MODELS__FOLDERS=f'["{models}"]').run(once=True)
    assert executor.batches == []
    assert "not below the folders" in (layout.root / "failed/p.txt.error.json").read_text()


def test_what_files_say_does_not_steer_the_terminal(layout: Layout) -> None:
    name = "a\x1b]0;owned\x07\n2026-01-01 ERROR false\u202egnp.png"
    (layout.inbox(Kind.SCORE) / name).write_bytes(b"no image")
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a --\x1b[31mflag 1")
    with LiveDaemon(layout, "--once") as line:
        assert line.process.wait(300) == 3
    for text in (line.text(), *(p.read_text() for p in (layout.root / "failed").glob("*.error.json"))):
        assert not set(text) & {"\x1b", "\x07", "\u202e"}
    lines = line.text().splitlines()
    assert any("ERROR false" in text and "failed: " in text for text in lines)  # it is told of
    assert [text for text in lines if text.startswith("2026-01-01")] == []
    (message,) = [m for (m,) in rows(layout, "SELECT error FROM queue WHERE kind = 'score'")]
    assert message == printable(message)


def test_names_never_reach_a_shell(layout: Layout) -> None:
    for name in ("$(touch owned).png", "`touch owned`.png", "; touch owned;.png", "| touch owned.png"):
        picture(layout.inbox(Kind.SCORE) / name)
    daemon(layout, ScriptedExecutor(always(7.5))).run(once=True)
    assert not list(layout.root.rglob("owned"))
    assert not Path("owned").exists()


def test_permissions_follow_the_umask_that_is_set(layout: Layout) -> None:
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a red circle on a blue background --seed 1")
    with LiveDaemon(layout, "--once", HOTFOLDER_OUTPUT__UMASK="027") as line:
        assert line.process.wait(300) == 0, line.text()
    made = files_in(layout, "keep", "reject", "upscaled")
    assert made
    for path in made:
        assert stat.S_IMODE((layout.root / path).stat().st_mode) == 0o640, path
    assert not layout.database.stat().st_mode & 0o022


def test_database_and_configuration_are_not_for_everybody_to_write(layout: Layout) -> None:
    daemon(layout, ScriptedExecutor(always(7.5))).run(once=True)
    config = layout.root / "hotfolder.toml"
    config.chmod(0o666)
    layout.database.chmod(0o666)
    daemon(layout, ScriptedExecutor(always(7.5))).run(once=True)
    assert not config.stat().st_mode & 0o002
    assert not layout.database.stat().st_mode & 0o002


def test_a_file_with_too_many_bytes_is_not_read(layout: Layout, tmp_path: Path) -> None:
    from hotfolder.imaging.source import read

    sparse = tmp_path / "sparse.png"
    with sparse.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(HotfolderError, match="more than the 2,000 allowed"):
        read(sparse, 2000)
    with pytest.raises(ConfigError, match="umask"):
        settings(layout, OUTPUT__UMASK="999")


def test_a_model_that_a_person_configures_may_lie_anywhere(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    assert Catalogue(()).resolve(str(tmp_path), Kind.GENERATE).folder == tmp_path


def test_an_item_that_changes_into_a_pipe_is_not_waited_for(layout: Layout) -> None:
    path = picture(layout.inbox(Kind.SCORE) / "a.png")

    def script(_: Kind, item: Item) -> float:
        if path.is_file():
            path.unlink()
            os.mkfifo(path)
        return 6.6

    daemon(layout, ScriptedExecutor(script)).run(once=True)
    assert files_in(layout, "keep", "failed") == []
