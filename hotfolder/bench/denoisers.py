"""Networks of the size of SDXL's, FLUX.1's and Z-Image's, with random weights made where they are to work.

Nothing is downloaded, and nothing is written: they are as fast as the real ones, and draw nothing but noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import diffusers
import torch

#: Tokens of a prompt: SDXL's encoders read 77; T5 up to 512; Z-Image's reads as many as there are.
_CLIP_TOKENS, _T5_TOKENS, _QWEN_TOKENS = 77, 512, 256
_SPREAD = 0.02


@dataclass(frozen=True, slots=True)
class Design:
    """A network's class and its configuration; `small` are the fields that a scaled-down one has otherwise."""

    title: str
    class_name: str
    config: Mapping[str, Any]
    small: Mapping[str, Any]


DESIGNS = {
    "sdxl": Design(
        "SDXL's UNet", "UNet2DConditionModel",
        {
            "sample_size": 128, "in_channels": 4, "out_channels": 4,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "block_out_channels": (320, 640, 1280), "attention_head_dim": (5, 10, 20),
            "transformer_layers_per_block": (1, 2, 10), "cross_attention_dim": 2048, "use_linear_projection": True,
            "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
        {
            "block_out_channels": (32, 64, 128), "attention_head_dim": (1, 2, 4),
            "transformer_layers_per_block": (1, 1, 2), "cross_attention_dim": 256, "addition_time_embed_dim": 32,
            "projection_class_embeddings_input_dim": 320,
        },
    ),
    "flux": Design(
        "FLUX.1's transformer", "FluxTransformer2DModel",
        {
            "patch_size": 1, "in_channels": 64, "num_layers": 19, "num_single_layers": 38, "attention_head_dim": 128,
            "num_attention_heads": 24, "joint_attention_dim": 4096, "pooled_projection_dim": 768,
            "guidance_embeds": True, "axes_dims_rope": (16, 56, 56),
        },
        {
            "num_layers": 2, "num_single_layers": 2, "num_attention_heads": 3, "joint_attention_dim": 256,
            "pooled_projection_dim": 64,
        },
    ),
    "z-image": Design(
        "Z-Image's transformer", "ZImageTransformer2DModel",
        {
            "in_channels": 16, "dim": 3840, "n_layers": 30, "n_refiner_layers": 2, "n_heads": 30, "n_kv_heads": 30,
            "cap_feat_dim": 2560, "axes_dims": [32, 48, 48], "axes_lens": [1024, 512, 512],
        },
        {"dim": 384, "n_layers": 2, "n_refiner_layers": 1, "n_heads": 3, "n_kv_heads": 3, "cap_feat_dim": 256},
    ),
}  # fmt: skip


class Denoiser:
    """One of DESIGNS on a device. `step` is one pass, as a pipeline asks for it."""

    def __init__(
        self, name: str, device: torch.device, dtype: torch.dtype, *, small: bool = False, seed: int = 0
    ) -> None:
        """Raises what runs out of memory."""
        self.name, self._device, self._dtype = name, device, dtype
        design = DESIGNS[name]
        self.config = {**design.config, **(design.small if small else {})}
        torch.manual_seed(seed)
        with torch.device(device), _by_default(dtype):
            network = getattr(diffusers, design.class_name)(**self.config)
        with torch.no_grad():
            for parameter in network.parameters():
                if (
                    parameter.ndim > 1
                ):  # some are left as the memory was: those of one row are the norms' and biases
                    parameter.normal_(0, _SPREAD)
        self.network: Any = network.eval().requires_grad_(False)

    @property
    def weights(self) -> int:
        """How many there are."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def to(self, device: torch.device, dtype: torch.dtype) -> Denoiser:
        """Moves it; for comparing one device with another."""
        self.network.to(device, dtype)
        self._device, self._dtype = device, dtype
        return self

    def inputs(self, pictures: int, side: int, seed: int = 1) -> dict[str, Any]:
        """For pictures of side² pixels: the same numbers on every device."""
        random = torch.Generator().manual_seed(seed)

        def noise(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=random).to(self._device, self._dtype)

        edge = side // 8
        if self.name == "sdxl":
            text = (
                self.config["projection_class_embeddings_input_dim"] - 6 * self.config["addition_time_embed_dim"]
            )
            times = torch.tensor([[side, side, 0, 0, side, side]] * pictures).to(self._device, self._dtype)
            return {
                "sample": noise(pictures, 4, edge, edge),
                "timestep": torch.tensor(500).to(self._device),
                "encoder_hidden_states": noise(pictures, _CLIP_TOKENS, self.config["cross_attention_dim"]),
                "added_cond_kwargs": {"text_embeds": noise(pictures, text), "time_ids": times},
            }
        at = torch.full((pictures,), 0.5, device=self._device, dtype=self._dtype)
        if self.name == "flux":
            rows, columns = torch.meshgrid(torch.arange(edge // 2), torch.arange(edge // 2), indexing="ij")
            places = torch.stack([torch.zeros_like(rows), rows, columns], -1).reshape(-1, 3)
            return {
                "hidden_states": noise(pictures, (edge // 2) ** 2, 64),
                "encoder_hidden_states": noise(pictures, _T5_TOKENS, self.config["joint_attention_dim"]),
                "pooled_projections": noise(pictures, self.config["pooled_projection_dim"]),
                "timestep": at,
                "img_ids": places.to(self._device, self._dtype),
                "txt_ids": torch.zeros(_T5_TOKENS, 3, device=self._device, dtype=self._dtype),
                "guidance": torch.full((pictures,), 3.5, device=self._device, dtype=self._dtype),
            }
        return {
            "x": [noise(16, 1, edge, edge) for _ in range(pictures)],
            "t": at,
            "cap_feats": [noise(_QWEN_TOKENS, self.config["cap_feat_dim"]) for _ in range(pictures)],
        }

    @torch.inference_mode()
    def step(self, inputs: Mapping[str, Any]) -> torch.Tensor:
        """(n, …) what the network says of its pictures."""
        found = self.network(**inputs, return_dict=False)[0]
        return torch.stack(list(found)) if isinstance(found, list) else found


@contextmanager
def _by_default(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
