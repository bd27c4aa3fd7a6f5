"""The plain way of enlarging."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact

from hotfolder.bench.plain import PlainNetwork
from hotfolder.types import RunnerSettings

CPU = torch.device("cpu")


def test_a_network_of_one_channel_sees_each_colour_by_itself(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Compact(num_in_ch=1, num_out_ch=1, num_feat=8, num_conv=1, upscale=2)
    save_file(
        {key: value.contiguous() for key, value in network.state_dict().items()}, tmp_path / "grey.safetensors"
    )
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    found = PlainNetwork(str(tmp_path / "grey.safetensors"), RunnerSettings(device="cpu"), CPU).enlarge(pixels)
    with torch.no_grad():
        red = network(torch.from_numpy(pixels[:, :, 0])[None, None].float() / 255)[0, 0]
    assert found.shape == (12, 10, 3)
    assert np.array_equal(found[:, :, 0], (red.clamp(0, 1) * 255).round().byte().numpy())
