"""What another program's folder holds, and what a single file is for: told by its folder, by a person, or guessed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hotfolder.errors import UsageError
from hotfolder.models.link import link
from hotfolder.models.registry import Catalogue


@pytest.fixture(autouse=True)
def data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def weights(path: Path, *names: str) -> Path:
    """A safetensors file with these tensors, a number each."""
    header = {
        name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * n, 4 * n + 4]} for n, name in enumerate(names)
    }
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4 * len(names)))
    return path


@pytest.mark.parametrize(
    ("names", "wants"),
    [
        (["body.0.weight", "body.1.weight"], "'upscale_models' (--kind upscale), by the names in it"),
        (["unet.a.lora_down.weight", "unet.a.lora_up.weight"], "'loras' (--kind lora), by the names in it"),
        (["clip_l", "clip_g"], "'embeddings' (--kind embedding), by the names in it"),
        (
            ["model.diffusion_model.x", "first_stage_model.y"],
            "'checkpoints' (--kind generate), by the names in it",
        ),
        (["a", "b"], "'upscale_models' (--kind upscale) or 'loras' (--kind lora) or 'embeddings'"),
    ],
)
def test_what_is_passed_over_says_what_it_would_need(tmp_path: Path, names: list[str], wants: str) -> None:
    weights(tmp_path / "models/somewhere/x.safetensors", *names)
    (found,) = link(tmp_path / "models", Catalogue())
    assert found.name == ""
    assert wants in found.what


def test_a_single_file_is_linked_by_its_folder_or_its_kind(tmp_path: Path) -> None:
    path = weights(tmp_path / "Downloads/4x Fine.safetensors", "body.0.weight", "body.1.weight")
    (found,) = link(path, Catalogue())
    assert (found.name, "--kind upscale" in found.what) == ("", True)
    (found,) = link(path, Catalogue(), "upscale")
    assert (found.name, found.what) == ("4x-fine", "can upscale")
    assert Catalogue().resolve("4x-fine", "upscale").files[0].path == path
    (found,) = link(weights(tmp_path / "Lora/small.safetensors", "a.lora_up.weight", "b"), Catalogue())
    assert (found.name, found.what) == ("small", "a LoRA")


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("x.txt", None, "no file of weights"),
        ("gone.pth", None, "is not there"),
        (".", "magic", "no kind of model"),
    ],
)
def test_what_cannot_be_linked_is_said(tmp_path: Path, name: str, kind: str | None, says: str) -> None:
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(UsageError, match=says):
        list(link(tmp_path / name, Catalogue(), kind))


def test_a_pickle_can_only_enlarge(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(os.urandom(16))
    (found,) = link(path, Catalogue())
    assert "'upscale_models' (--kind upscale)" in found.what
    (found,) = link(path, Catalogue(), "lora")
    assert found.name == ""
