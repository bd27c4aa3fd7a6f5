"""A model is known by its hash, as other programs write it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from hotfolder.models import records
from hotfolder.models.fingerprint import is_called
from hotfolder.models.registry import Catalogue, ModelFile, ModelSpec, usual_folder


def test_the_hashes_of_the_web_ui_mean_the_model(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    own = hashlib.sha256(data).hexdigest()
    spec = ModelSpec("a", "generate", "single_file", tmp_path, (ModelFile(path),))
    old = hashlib.sha256(data[0x100000:0x110000]).hexdigest()[:8]
    assert [is_called(told, spec, own) for told in (own, own[:10], own[:12].upper(), old)] == [True] * 4
    assert [is_called(told, spec, own) for told in (own[:8], own[:9], "0" * 10, "0" * 64)] == [False] * 4


def test_a_model_is_found_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    digest = "ab12" * 16
    entry = {"name": "mine", "kind": "generate", "source": "/x", "files": [{"path": "x"}], "family": "sd15"}
    file = records.InstalledFile("/x/x.safetensors", 1, digest)
    records.write(usual_folder(), records.Record("mine", "linked", "/x", (file,), entry))
    assert Catalogue().named_by(digest[:10], "generate") == "mine"
    assert Catalogue().named_by(digest[:10], "upscale") is None
    assert Catalogue().named_by("0" * 10, "generate") is None
