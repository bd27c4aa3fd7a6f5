"""Trains `x4-compact`: a small ×4 Compact network (SRVGGNet of Real-ESRGAN) for clean pictures."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from PIL import Image
from safetensors.torch import load_file, save_file
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


@torch.no_grad()
def _carry_pixels(net: Compact) -> None:
    """Lets the first 27 features carry the three colours, shifted by one pixel each way, through all layers.

    They are not negative, so PReLU passes them unchanged. With the last layer fitted to them the network is the
    best linear 5×5 upsampler, and training only has to add what is not linear.
    """
    convolutions: Any = [layer for layer in net.body if isinstance(layer, torch.nn.Conv2d)]
    first, *middle, _ = convolutions
    shifts = [(c, y, x) for c in range(3) for y in range(3) for x in range(3)]
    for feature, (colour, y, x) in enumerate(shifts):
        first.weight[feature] = 0
        first.weight[feature, colour, y, x] = 1
        first.bias[feature] = 0
        for layer in middle:
            layer.weight[feature] = 0
            layer.weight[feature, feature, 1, 1] = 1
            layer.bias[feature] = 0


@torch.no_grad()
def fit_last_layer(net: Compact, pairs: list[Pair], rng: random.Random, batches: int) -> None:
    """Sets the last layer to the least-squares optimum for the features before it (ridge regression)."""
    last = net.body[-1]
    inputs = last.weight[0].numel() + 1
    normal, moments = (
        torch.zeros(inputs, inputs, dtype=torch.float64),
        torch.zeros(inputs, 48, dtype=torch.float64),
    )
    for _ in range(batches):
        low, high = _batch(pairs, 12, rng)
        features = low
        for layer in net.body[:-1]:
            features = layer(features)
        patches = F.unfold(features, 3).transpose(1, 2).reshape(-1, inputs - 1)
        patches = torch.cat((patches, torch.ones(len(patches), 1)), dim=1).double()
        wanted = F.pixel_unshuffle(high - F.interpolate(low, scale_factor=SCALE, mode="nearest"), SCALE)
        inner = wanted[..., 1:-1, 1:-1].flatten(2).transpose(1, 2).reshape(-1, 3 * SCALE**2).double()
        normal += patches.T @ patches
        moments += patches.T @ inner
    ridge = torch.eye(inputs, dtype=torch.float64) * normal.diagonal().mean() * 1e-5
    solution = torch.linalg.solve(normal + ridge, moments).T.float()
    last.weight.copy_(solution[:, :-1].reshape(last.weight.shape))
    last.bias.copy_(solution[:, -1])


def build_compact() -> Compact:
    return Compact(num_in_ch=3, num_out_ch=3, num_feat=40, num_conv=10, upscale=SCALE, act_type="prelu")


def load_compact(folder: Path) -> Compact:
    """The trained network of a pack, in float32."""
    net = build_compact()
    net.load_state_dict({name: value.float() for name, value in load_file(folder / "model.safetensors").items()})
    return net.eval()


@torch.inference_mode()
def enlarge(net: torch.nn.Module, image: Image.Image) -> Image.Image:
    """An RGB picture, four times as large, in one piece."""
    pixels = net(_tensor(image)[None].float() / 255)[0].clamp(0, 1).mul(255).round()
    return Image.fromarray(pixels.permute(1, 2, 0).to(torch.uint8).numpy())


def train(out: Path, *, seed: int, log: Log, steps: int = 1800, pictures: int = 500) -> None:
    """Trains and writes `model.safetensors` (float16, the layout spandrel reads) to `out`."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    pairs = _pictures(pictures, seed * 1_000_000)
    log(f"x4-compact: {len(pairs)} pictures drawn")
    net = build_compact()
    _carry_pixels(net)
    fit_last_layer(net, pairs, rng, 12)
    net = net.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.9, 0.99))
    started, running = time.monotonic(), 0.0
    for step in range(steps):
        low, high = _batch(pairs, 12, rng)
        if step == steps * 5 // 8:
            fit_last_layer(net, pairs, rng, 60)
        enlarged = net(low.contiguous(memory_format=torch.channels_last))
        # Absolute error finds edges sooner; squared error, in the end, is what is measured.
        loss = F.l1_loss(enlarged, high) if step < steps * 5 // 8 else 100 * F.mse_loss(enlarged, high)
        descend(optimiser, loss, learning_rate(step, steps, 4e-4))
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        if step % 200 == 0 or step == steps - 1:
            log(f"x4-compact {step}/{steps} loss {running:.5f} {time.monotonic() - started:.0f} s")
    state = {name: value.to(torch.float16).contiguous() for name, value in net.state_dict().items()}
    save_file(state, out / "model.safetensors")
