"""Trains `technical`: a small network that ranks synthetic faults, and pictures against their enlargements."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from hotfolder.demo.pictures import FAULTS, draw_landscape, spoil
from hotfolder.engines.scoring.technical import view
from hotfolder.engines.scoring.technical_net import TechnicalNet
from tools.builtin.captions import training_pairs
from tools.builtin.compact import enlarge, load_compact
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


@dataclass(frozen=True, slots=True)
class Family:
    """A picture and its enlargement by `x4-compact`, both as `technical` sees them: (3, side, side) uint8."""

    parent: torch.Tensor
    child: torch.Tensor
    blurred: bool


def _pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(view(image))).permute(2, 0, 1)


def draw_families(count: int, seed: int, compact: nn.Module) -> dict[int, list[Family]]:
    """Square pictures by their side, one in three blurred before it was enlarged."""
    rng = random.Random(seed)
    sides = (128, 128, 160, 192, 256)
    families: dict[int, list[Family]] = {side: [] for side in sides}
    for i in range(count):
        side = sides[i % len(sides)]
        kind = rng.random()
        if kind < 0.45:
            ((spec, _),) = training_pairs(1, rng)
            parent = draw_spec(spec, rng, side)
        elif kind < 0.85:
            parent = draw_scene(seed + i, side)
        else:
            parent = draw_landscape(seed + i, (side, side))
        # From 256 pixels on both are reduced to the same view, in which a blur has no two sizes.
        blurred = side < 256 and i % 3 == 0
        if blurred:
            parent = spoil(parent, "blur", rng.uniform(0.8, 4.0))
        families[side].append(Family(_pixels(parent), _pixels(enlarge(compact, parent)), blurred))
    return families


def _family_loss(net: TechnicalNet, families: list[Family]) -> torch.Tensor:
    """A faithful enlargement of a clean picture is as good and a little better; that of a blurred one is worse."""
    parents = net(torch.stack([f.parent for f in families]).float() / 255)
    children = net(torch.stack([f.child for f in families]).float() / 255)
    blurred = torch.tensor([f.blurred for f in families])
    gains = children - parents
    apart = torch.where(blurred, F.relu(gains + 0.4), F.relu(0.2 - gains))
    clean = torch.where(blurred, 0.0, F.smooth_l1_loss(parents, torch.tensor(BEST), reduction="none"))
    return (2 * apart + clean).mean()


def train(
    out: Path,
    *,
    seed: int,
    log: Log,
    steps: int = 2600,
    pictures: int = 1500,
    groups: int = 5,
    families: int = 600,
) -> None:
    """Trains and writes `model.safetensors` (float16) to `out`; `x4-compact` is beside it and trained already.

    In the first half the network sees crops alone; then whole pictures with their enlargements as well, with the
    statistics of batch normalisation as they are: a batch of enlargements alone has others.
    """
    torch.manual_seed(seed)
    rng = random.Random(seed)
    clean = draw_clean(pictures, seed * 1_000_000)
    drawn_families = draw_families(families, seed * 1_000_000 + 500_000, load_compact(out.parent / "x4-compact"))
    log(f"technical: {len(clean)} pictures and {families} enlargements drawn")
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
        if step == steps // 2:
            for module in net.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        if step >= steps // 2:
            loss = loss + _family_loss(net, rng.choices(rng.choice(list(drawn_families.values())), k=3))
        descend(optimiser, loss, learning_rate(step, steps, 1e-3))
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        if step % 100 == 0 or step == steps - 1:
            log(f"technical {step}/{steps} loss {running:.4f} {time.monotonic() - started:.0f} s")
    state = {n: v.half() if v.is_floating_point() else v for n, v in net.state_dict().items()}
    state = {n: v.contiguous() for n, v in state.items()}
    save_file(state, out / "model.safetensors")
