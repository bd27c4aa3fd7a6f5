"""Files of models that nobody made in good faith: JSON that is nested deeper than it can be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from hotfolder.errors import ModelDamaged
from hotfolder.models import taste_heads
from hotfolder.models.checkpoint import read_header
from hotfolder.models.family import read_config
from hotfolder.models.quantised import _told

_DEEP = "[" * 100_000


def _config(path: Path) -> object:
    path.write_text(_DEEP)
    return read_config(path)


def _taste(path: Path) -> object:
    save_file({"weight": np.zeros(1, np.float32)}, path, {taste_heads._KEY: _DEEP})
    return taste_heads._read(path)


def _quantised(path: Path) -> object:
    save_file({"weight": np.zeros(1, np.float32)}, path, {"_quantization_metadata": _DEEP})
    return list(_told(path, read_header(path)))


@pytest.mark.parametrize("read", [_config, _taste, _quantised])
def test_it_is_a_damaged_model(read: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(ModelDamaged):
        read(tmp_path / "it.safetensors")
