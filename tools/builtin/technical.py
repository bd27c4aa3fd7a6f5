"""Trains `technical`: a small network that ranks synthetic faults."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from PIL import Image
from safetensors.torch import save_file

from hotfolder.demo.pictures import FAULTS, draw_landscape, spoil
from hotfolder.engines.scoring.technical_net import TechnicalNet
from tools.builtin.captions import training_pairs
from tools.builtin.optim import Log, descend, learning_rate
from tools.builtin.renders import draw_scene, draw_spec

CROP = 128
BEST, PER_LEVEL = 9.0, 1.5


def target(level: float) -> float:
    """The score a fault of this level (0 to 5) is taught to have: 9.0, 7.5, … 1.5."""
    return BEST - PER_LEVEL * level


def draw_clean(count: int, seed: int) -> list[Image.Image]:
    """Unspoiled RGB pictures of several kinds and sizes; none is shared between seeds a million apart."""
    rng = random.Random(seed)
    pictures = [draw_scene(seed + i, rng.choice((192, 256, 320))) for i in range(count // 2)]
    pictures += [draw_landscape(seed + i, rng.choice(((320, 240), (240, 320)))) for i in range(count // 5)]
    rest = training_pairs(count - len(pictures), rng)
    return pictures + [draw_spec(spec, rng, rng.choice((128, 160, 256))) for spec, _ in rest]


def _crop(image: Image.Image, rng: random.Random) -> Image.Image:
    side = min(CROP, image.width, image.height)
    x, y = rng.randint(0, image.width - side), rng.randint(0, image.height - side)
    cropped = image.crop((x, y, x + side, y + side))
    return cropped if side == CROP else cropped.resize((CROP, CROP), Image.Resampling.LANCZOS)


def _quadruple(clean: Image.Image, rng: random.Random) -> tuple[list[Image.Image], list[float]]:
    """One crop at three levels of one fault, rising, and once with two faults."""
    base = _crop(clean, rng)
    if rng.random() < 0.5:
        base = base.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    fault, other = rng.sample(FAULTS, 2)
    levels = sorted(rng.uniform(0, 5) for _ in range(3))
    if rng.random() < 0.6:
        levels[0] = 0.0
    images = [spoil(base, fault, level, rng.randrange(1 << 30)) if level else base for level in levels]
    first, second = rng.uniform(0.3, 3.5), rng.uniform(0.3, 3.5)
    images.append(spoil(spoil(base, other, first, rng.randrange(1 << 30)), fault, second, 7))
    return images, [target(level) for level in (*levels, min(5.0, (first**2 + second**2) ** 0.5))]


def train(out: Path, *, seed: int, log: Log, steps: int = 2600, pictures: int = 1500, groups: int = 5) -> None:
    """Trains and writes `model.safetensors` (float16) to `out`."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    clean = draw_clean(pictures, seed * 1_000_000)
    log(f"technical: {len(clean)} pictures drawn")
    net = TechnicalNet().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-4)
    started, running = time.monotonic(), 0.0
    for step in range(steps):
        images: list[Image.Image] = []
        targets: list[float] = []
        for _ in range(groups):
            drawn, wanted = _quadruple(rng.choice(clean), rng)
            images += drawn
            targets += wanted
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
        pixels = pixels.permute(0, 3, 1, 2).float() / 255  # NHWC memory is channels_last already
        wanted_scores = torch.tensor(targets)
        scores = net(pixels)
        ladder, steps_down = scores.view(groups, 4)[:, :3], wanted_scores.view(groups, 4)[:, :3]
        gaps, margins = ladder[:, :-1] - ladder[:, 1:], steps_down[:, :-1] - steps_down[:, 1:]
        ranking = F.relu(0.7 * margins - gaps).mean()
        loss = F.smooth_l1_loss(scores, wanted_scores) + ranking
        descend(optimiser, loss, learning_rate(step, steps, 1e-3))
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        if step % 100 == 0 or step == steps - 1:
            log(f"technical {step}/{steps} loss {running:.4f} {time.monotonic() - started:.0f} s")
    state = {n: v.half() if v.is_floating_point() else v for n, v in net.state_dict().items()}
    state = {n: v.contiguous() for n, v in state.items()}
    save_file(state, out / "model.safetensors")
