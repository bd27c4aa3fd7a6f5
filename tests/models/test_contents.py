"""Two machines tell each other of their models by content, and one sends the other what it lacks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hotfolder.errors import DownloadFailed, ModelDamaged, ModelMissing, UsageError
from hotfolder.models import records
from hotfolder.models.contents import Content, Held, Need, Presence, held, presence
from hotfolder.models.link import link
from hotfolder.models.pull import remove
from hotfolder.models.receive import Receiver
from hotfolder.models.registry import EMBEDDING, LORA, Catalogue, usual_folder
from hotfolder.types import Kind

HERE, ABSENT, OTHER = Presence


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The folder for models of another machine."""
    return tmp_path / "there"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "here"))


@contextmanager
def on(machine: Path) -> Iterator[Catalogue]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(machine))
        yield Catalogue()


def linked(tmp_path: Path, data: bytes = b"weights") -> Need:
    """An enlarger that only this machine's records know."""
    path = tmp_path / "upscale_models" / "mine.pth"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    (found,) = link(path, Catalogue(), Kind.UPSCALE)
    return Need(found.name, Kind.UPSCALE)


def send(model: Held, size: int = 3) -> None:
    receiver = Receiver(model.content)
    try:
        for number, piece in enumerate(model.pieces):
            data = piece.path.read_bytes()
            for offset in range(receiver.had[number], len(data), size):
                receiver.write(number, offset, data[offset : offset + size])
        receiver.finish()
    finally:
        receiver.close()


def test_a_model_that_only_one_machine_knows_is_sent_and_is_the_same(tmp_path: Path, there: Path) -> None:
    (model,) = held(linked(tmp_path), Catalogue())
    with on(there) as catalogue:
        how, why = presence(model.content, catalogue)
        assert how is ABSENT
        assert why == "it lacks the model 'mine': put it there, or set models.auto_pull = true"
        send(model)
        assert presence(model.content, catalogue) == (HERE, "")
        spec = catalogue.resolve("mine", Kind.UPSCALE)
        assert spec.files[0].path.read_bytes() == b"weights"
        assert spec.files[0].path.is_relative_to(there)
        entry = catalogue.entry("mine")
        assert entry is not None and remove(entry) == 7
        assert presence(model.content, catalogue)[0] is ABSENT
        assert not (usual_folder() / "mine").exists()


def test_another_content_of_the_same_name_is_not_used_and_not_touched(tmp_path: Path, there: Path) -> None:
    (tmp_path / "other").mkdir()
    with on(there) as catalogue:
        need = linked(tmp_path / "other", b"others!")
        (theirs,) = held(need, catalogue)
    (ours,) = held(linked(tmp_path), Catalogue())
    with on(there) as catalogue:
        how, why = presence(ours.content, catalogue)
        assert how is OTHER
        assert theirs.content.identity[:12] in why and ours.content.identity[:12] in why
        assert presence(theirs.content, catalogue) == (HERE, "")


def test_the_same_content_by_another_file_name_is_the_same_model(tmp_path: Path, there: Path) -> None:
    (ours,) = held(linked(tmp_path), Catalogue())
    with on(there) as catalogue:
        path = tmp_path / "x.pth"
        path.write_bytes(b"weights")
        file = records.InstalledFile(str(path), 7, ours.content.identity)
        entry = {**dict(ours.content.entry or {}), "files": [{"path": "x.pth"}]}
        records.write(usual_folder(), records.Record("mine", "linked", str(tmp_path), (file,), entry))
        assert presence(ours.content, catalogue) == (HERE, "")


def test_what_is_built_in_is_the_same_everywhere(there: Path) -> None:
    for need in (Need("shapes", Kind.GENERATE), Need("technical", Kind.SCORE), Need("x4-compact", Kind.UPSCALE)):
        (model,) = held(need, Catalogue())
        assert model.content.is_builtin and not model.content.is_sendable
        with on(there) as catalogue:
            assert presence(model.content, catalogue) == (HERE, "")


def test_a_scorer_comes_with_its_encoder(tmp_path: Path, there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        {"name": "eye", "kind": "encoder", "files": [{"path": "eye.safetensors"}]},
        {"name": "judge", "kind": "score", "encoder": "eye", "files": [{"path": "judge.pth"}]},
    ]
    for name in ("eye.safetensors", "judge.pth"):
        usual_folder().mkdir(parents=True, exist_ok=True)
        (usual_folder() / name).write_bytes(name.encode())
    eye, judge = held(Need("judge", Kind.SCORE), Catalogue((), entries))
    assert (eye.content.need, judge.content.need.name) == (Need("eye", "encoder"), "judge")
    with on(there):
        catalogue = Catalogue((), entries)
        assert [presence(each.content, catalogue)[0] for each in (eye, judge)] == [ABSENT, ABSENT]
        send(eye)
        send(judge)
        assert [presence(each.content, catalogue)[0] for each in (eye, judge)] == [HERE, HERE]
        # The same head on another encoder is another scorer.
        path = catalogue.resolve("eye", "encoder").files[0].path
        record = records.read(usual_folder(), "eye")
        assert record is not None
        path.write_bytes(b"another")
        other = dataclasses.replace(record.files[0], size=7, sha256="0" * 64)
        records.write(usual_folder(), dataclasses.replace(record, files=(other,)))
        assert [presence(each.content, catalogue)[0] for each in (eye, judge)] == [OTHER, OTHER]


def test_a_pipeline_folder_is_there_only_when_it_is_whole(tmp_path: Path, there: Path) -> None:
    folder = tmp_path / "pipe"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    (folder / "unet" / "w.safetensors").write_bytes(b"0123456789")
    (folder / "README.md").write_text("not part of it")
    (found,) = link(folder, Catalogue(), Kind.GENERATE)
    (model,) = held(Need(found.name, Kind.GENERATE), Catalogue())
    assert [file.name for file in model.content.files] == ["model_index.json", "unet/w.safetensors"]
    with on(there) as catalogue:
        receiver = Receiver(model.content)
        receiver.write(0, 0, (folder / "model_index.json").read_bytes())
        receiver.write(1, 0, b"0123")
        with pytest.raises(DownloadFailed, match="being fetched"):
            Receiver(model.content)
        receiver.close()
        with pytest.raises((ModelMissing, UsageError)):
            catalogue.resolve(found.name, Kind.GENERATE)
        receiver = Receiver(model.content)
        assert receiver.had == [model.content.files[0].size, 4]  # it goes on where it was cut off
        receiver.write(1, 4, b"4567xx")
        with pytest.raises(ModelDamaged):
            receiver.finish()
        receiver.close()
        assert presence(model.content, catalogue)[0] is ABSENT
        send(model)
        assert presence(model.content, catalogue) == (HERE, "")
        assert catalogue.resolve(found.name, Kind.GENERATE).folder.is_relative_to(there)


@pytest.mark.parametrize(("kind", "among"), [(LORA, "loras"), (EMBEDDING, "embeddings")])
def test_a_file_that_is_known_by_its_name_alone(there: Path, kind: str, among: str) -> None:
    path = usual_folder() / among / "style.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"abc")
    (model,) = held(Need("style", kind), Catalogue())
    with on(there) as catalogue:
        assert presence(model.content, catalogue)[0] is ABSENT
        send(model)
        assert presence(model.content, catalogue) == (HERE, "")
        assert (usual_folder() / among / "style.safetensors").read_bytes() == b"abc"
        assert [path.name for path in (usual_folder() / among).iterdir()] == ["style.safetensors"]
        (usual_folder() / among / "style.safetensors").write_bytes(b"xyz")
        assert presence(model.content, catalogue)[0] is OTHER


def test_what_is_named_by_its_path_is_compared_and_not_sent(tmp_path: Path, there: Path) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(b"abc")
    (model,) = held(Need(str(path), Kind.UPSCALE), Catalogue())
    assert not model.content.is_sendable
    with on(there) as catalogue:
        assert presence(model.content, catalogue) == (HERE, "")
        path.write_bytes(b"xyz")
        assert presence(model.content, catalogue)[0] is OTHER
        path.unlink()
        how, why = presence(model.content, catalogue)
        assert (how, why) == (ABSENT, f"it lacks {path}: put it there, at the same place")


def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, there: Path) -> None:
    (model,) = held(linked(tmp_path), Catalogue())
    for name in ("../x", "/etc/x", "a/../../x", ""):
        file = dataclasses.replace(model.content.files[0], name=name)
        content: Content = dataclasses.replace(model.content, files=(file,))
        with on(there), pytest.raises(UsageError, match="no name of a file"):
            Receiver(content)
    assert not there.exists()


def test_pieces_come_in_their_turn(tmp_path: Path, there: Path) -> None:
    (model,) = held(linked(tmp_path), Catalogue())
    with on(there):
        receiver = Receiver(model.content)
        for offset, data in ((1, b"x"), (0, b"more than it has")):
            with pytest.raises(ValueError, match="bytes long"):
                receiver.write(0, offset, data)
        receiver.close()
