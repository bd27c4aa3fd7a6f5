"""Trains `x4-compact`: a small ×4 Compact network (SRVGGNet of Real-ESRGAN) for clean pictures."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from PIL import Image
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact

from tools.builtin.captions import training_pairs
from tools.builtin.optim import Log, descend, learning_rate
from tools.builtin.renders import draw_scene, draw_spec

SCALE = 4
PATCH = 40  # low-resolution pixels
Pair = tuple[torch.Tensor, torch.Tensor]


def reduce_by_four(image: Image.Image) -> Image.Image:
    """The low-resolution picture the network learns from: Pillow's anti-aliased bicubic."""
    return image.resize((image.width // SCALE, image.height // SCALE), Image.Resampling.BICUBIC)


def _tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _pictures(count: int, seed: int) -> list[Pair]:
    """(low, high) uint8 pairs, (3, h, w): scenes, and one in four a flat shape as `shapes` draws them."""
    rng = random.Random(seed)
    drawn = [draw_scene(seed + 1 + i, 320) for i in range(count * 3 // 4)]
    drawn += [draw_spec(spec, rng, 384) for spec, _ in training_pairs(count - len(drawn), rng)]
    return [(_tensor(reduce_by_four(image)), _tensor(image)) for image in drawn]


def _batch(pairs: list[Pair], size: int, rng: random.Random) -> Pair:
    low, high = [], []
    for a, b in rng.choices(pairs, k=size):
        y, x = rng.randint(0, a.shape[1] - PATCH), rng.randint(0, a.shape[2] - PATCH)
        a = a[:, y : y + PATCH, x : x + PATCH]
        b = b[:, y * SCALE : (y + PATCH) * SCALE, x * SCALE : (x + PATCH) * SCALE]
        if rng.random() < 0.5:
            a, b = a.flip(2), b.flip(2)
        if rng.random() < 0.5:
            a, b = a.transpose(1, 2), b.transpose(1, 2)
        channels = torch.tensor(rng.sample(range(3), 3))
        low.append(a[channels])
        high.append(b[channels])
    return torch.stack(low).float() / 255, torch.stack(high).float() / 255


def train(out: Path, *, seed: int, log: Log, steps: int = 1300, pictures: int = 500) -> None:
    """Trains and writes `model.safetensors` (float16, the layout spandrel reads) to `out`."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    pairs = _pictures(pictures, seed * 1_000_000)
    log(f"x4-compact: {len(pairs)} pictures drawn")
    net = Compact(num_in_ch=3, num_out_ch=3, num_feat=40, num_conv=10, upscale=SCALE, act_type="prelu")
    net = net.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.9, 0.99))
    started, running = time.monotonic(), 0.0
    for step in range(steps):
        low, high = _batch(pairs, 12, rng)
        loss = F.l1_loss(net(low.contiguous(memory_format=torch.channels_last)), high)
        descend(optimiser, loss, learning_rate(step, steps, 1.5e-3))
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        if step % 200 == 0 or step == steps - 1:
            log(f"x4-compact {step}/{steps} L1 {running:.5f} {time.monotonic() - started:.0f} s")
    state = {name: value.to(torch.float16).contiguous() for name, value in net.state_dict().items()}
    save_file(state, out / "model.safetensors")
