"""A home directory in which the examples of the documents can be run as they stand."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact

from tests.support import fork_client, forks
from tests.support.roots import picture


class Home:
    """An empty home. `hotfolder` is this very code; what would change the machine only notes that it was called.

    Nor is anything measured: that takes minutes, and has tests of its own. With $APART 'apart', each command is a
    start of Python.
    """

    def __init__(self, folder: Path, **environ: str) -> None:
        self.path = folder / "home"
        self.path.mkdir()
        self._bin = folder / "bin"
        self._bin.mkdir()
        self.calls = folder / "calls"
        self._environ = environ
        # Started by Python where it looks who its parents are, or may not reach the rest of the machine.
        apart = f'case "$1$APART" in bench*) exit 0;; --*|*apart) exec "{sys.executable}" -m hotfolder "$@";; esac'
        fork = f'exec "{sys.executable}" -IS "{fork_client.__file__}" "{forks.address()}" hotfolder "$@"'
        self.command("hotfolder", f"{apart}\n{fork}")
        for name in ("uv", "pip", "systemctl", "journalctl", "loginctl"):
            self.command(name, f'echo "{name} $*" >> "{self.calls}"')
        active = 'case "$*" in *show*) echo LoadState=loaded; echo ActiveState=active;; esac'
        self.command("systemctl", f'echo "systemctl $*" >> "{self.calls}"\n{active}')

    def command(self, name: str, script: str) -> None:
        path = self._bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def run(self, script: str, *, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Runs a script of the shell in the home directory; it ends with its first failure."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_", "HOTFOLDER_"))}
        env = {
            **clean, "HOME": str(self.path), "PATH": f"{self._bin}:{os.environ['PATH']}", "HF_HUB_DISABLE_XET": "1",
            "NO_COLOR": "1", **self._environ,
        }  # fmt: skip
        # Not the last command: bash would become it, and no shell would be its parent, as on a terminal one is.
        env |= {"APART": "apart"} if before else {}
        words = [*before, "bash", "-euo", "pipefail", "-c", f"{script}\n:"]
        return subprocess.run(words, cwd=self.path, env=env, capture_output=True, text=True, timeout=600)

    def fill(self) -> None:
        """Pictures under the names that the documents use."""
        for number in range(3):
            picture(self.path / f"holiday/{number}.png", number, (64, 48))
            (self.path / f"holiday/{number}.png").rename(self.path / f"holiday/{number}.jpg")
        from PIL import Image

        for name in ("scan.tif", "scans/old/a.tif", "portrait.jpg"):
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            size = (1024, 640) if name == "portrait.jpg" else (40, 32)
            Image.effect_noise(size, 60).convert("RGB").save(self.path / name)


def constant_tower(path: Path) -> Path:
    """A tower of ViT-L/14 in open_clip's layout whose weights are all alike: the real size, made in a moment."""
    with torch.device("meta"):
        model = open_clip.CLIP(**open_clip.get_model_config("ViT-L-14-quickgelu"))
    state = {
        k: torch.full(v.shape, 0.01, dtype=torch.float16) for k, v in model.state_dict().items() if "visual." in k
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path)
    return path


def random_head(path: Path, seed: int = 0) -> Path:
    """Five linear layers in the format of the LAION head."""
    torch.manual_seed(seed)
    sizes, numbers = (768, 1024, 128, 64, 16, 1), (0, 2, 4, 6, 7)
    state = {}
    for number, before, after in zip(numbers, sizes[:-1], sizes[1:], strict=True):
        state[f"layers.{number}.weight"] = torch.randn(after, before) / before**0.5
        state[f"layers.{number}.bias"] = torch.full((after,), 5.0 if after == 1 else 0.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return path


def random_compact(path: Path, seed: int = 0) -> Path:
    """A small network for enlarging four times, in the format of Real-ESRGAN's releases."""
    torch.manual_seed(seed)
    net = Compact(num_in_ch=3, num_out_ch=3, num_feat=16, num_conv=2, upscale=4)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"params": net.state_dict()}, path)
    return path
