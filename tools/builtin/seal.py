"""Writes a built-in model's manifest: which files it has, their sha256, and its golden value."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

#: How far a scorer may be from its golden value: float32 differs a little between processors.
TOLERANCE = 0.02


def seal(folder: Path) -> None:
    """Writes `manifest.json` for the files in `folder`, model cards excepted."""
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".md" and path.name != "manifest.json"
    )
    manifest: dict[str, Any] = {
        "files": [
            {"path": name, "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()} for name in names
        ]
    }
    if folder.name == "technical":
        manifest["golden"] = {"score": golden_score(folder / "model.safetensors"), "tolerance": TOLERANCE}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def golden_score(weights: Path) -> float:
    """What these weights give for the golden picture, float32 on the CPU."""
    import numpy as np
    import torch

    from hotfolder.engines.scoring.technical import golden_input, load_net, view

    pixels = torch.from_numpy(np.asarray(view(golden_input())).copy())
    with torch.inference_mode():
        return round(load_net(weights)(pixels.permute(2, 0, 1)[None].float() / 255).item(), 4)
