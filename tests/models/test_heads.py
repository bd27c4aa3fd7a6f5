"""For which encoder a head was made, from its file alone."""

from __future__ import annotations

import itertools
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hotfolder.models.heads import ENCODER_OF, encoder_for


def layers(*widths: int, prefix: str = "scoring_head.") -> OrderedDict[str, torch.Tensor]:
    """As aesthetic-predictor-v2.5 and LAION name them: with room for dropout between them."""
    found = OrderedDict()
    for number, (inward, outward) in enumerate(itertools.pairwise(widths)):
        found[f"{prefix}{2 * number}.weight"] = torch.zeros(outward, inward, dtype=torch.bfloat16)
        found[f"{prefix}{2 * number}.bias"] = torch.zeros(outward)
    return found


@pytest.mark.parametrize("width", [768, 1152])
def test_the_first_layer_says_it(width: int, tmp_path: Path) -> None:
    torch.save(layers(width, 64, 1), tmp_path / "a.pth")
    torch.save({"state_dict": dict(layers(width, 1)), "epoch": 3}, tmp_path / "b.ckpt")
    torch.save(torch.nn.Linear(width, 1).state_dict(), tmp_path / "c.pth")
    save_file(dict(layers(width, 16, 1)), tmp_path / "d.safetensors")
    for name in ("a.pth", "b.ckpt", "c.pth", "d.safetensors"):
        assert encoder_for(tmp_path / name) == ENCODER_OF[width], name


def test_what_says_nothing_is_left_to_the_scorer(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "empty.pth", "w"):
        pass
    with zipfile.ZipFile(tmp_path / "large.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(2**24))
    (tmp_path / "text.pth").write_text("no head")
    (tmp_path / "text.safetensors").write_text("no head")
    (tmp_path / "list.pth").write_bytes(pickle.dumps([1, 2]))
    torch.save([1, 2], tmp_path / "other.pth")
    torch.save(layers(512, 1), tmp_path / "narrow.pth")
    torch.save(layers(1152, 1), tmp_path / "locked.pth")
    content = (tmp_path / "locked.pth").read_bytes()
    for start, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # each part says that it wants a password
        at = content.find(start)
        while at >= 0:
            content = content[: at + flags] + bytes([content[at + flags] | 1]) + content[at + flags + 1 :]
            at = content.find(start, at + 4)
    (tmp_path / "locked.pth").write_bytes(content)
    for path in tmp_path.iterdir():
        assert encoder_for(path) == ENCODER_OF[768], path.name
    assert encoder_for(tmp_path / "nowhere.pth") == ENCODER_OF[768]


class Attack:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_code_in_it_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    torch.save({"weight": torch.zeros(1, 1152), "bias": Attack(mark)}, tmp_path / "head.pth")
    assert encoder_for(tmp_path / "head.pth") == ENCODER_OF[1152]
    assert not mark.exists()
