"""Q-ReAlign (q-future, Apache-2.0): a language model with eyes is asked how good a picture is.

Its answer is read from how likely it finds each of five words, as in Wu et al., 'Q-Align: teaching LMMs for visual
scoring via discrete text-defined levels', ICML 2024; here on Qwen3.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from hotfolder.engines.device import precision_name
from hotfolder.engines.scoring.base import Bench, View
from hotfolder.errors import BadInput, ModelDamaged, UsageError
from hotfolder.models.registry import ModelSpec

#: As it was trained: what is asked, and how the answer begins.
QUESTIONS = {
    "aesthetics": ("How would you rate the aesthetics of this image?", "The aesthetics of the image is"),
    "quality": ("How would you rate the quality of this image?", "The quality of the image is"),
}
#: The words, and the share of the way from 1 to 10 that each stands for.
LEVELS = {"excellent": 1.0, "good": 0.75, "fair": 0.5, "poor": 0.25, "bad": 0.0}
#: Pixels of a view: more is reduced. The processor of its checkpoints allows ten times that, at ten times the memory.
_MOST_PIXELS = 1280 * 1280
#: One side is so many times the other, at most.
_LONGEST = 200


class Network:
    """The model with its tokenizer, in float32: what half precision does to it is not known, so it is not used."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Raises ModelDamaged."""
        try:
            self.processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)
            model: Any = AutoModelForImageTextToText.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError, RuntimeError, SafetensorError, KeyError) as error:
            raise ModelDamaged(f"{folder} does not hold Q-ReAlign: {str(error)[:200]}", "fetch it again") from None
        self.model = model.eval().requires_grad_(False).to(device)
        of_words = [self.processor.tokenizer(f" {word}", add_special_tokens=False).input_ids for word in LEVELS]
        self.level_ids = [ids[0] for ids in of_words]
        if len(set(self.level_ids)) < len(LEVELS):
            raise ModelDamaged(f"{folder}: its tokenizer has no words for the levels", "fetch it again")


class LevelEncoder:
    """What it would say: (n, 10), the logarithms of the five words' shares, and what float16 leaves out of them.

    The second five numbers are there for the embedding as it is stored: with them nothing of the score is lost.
    """

    half_error = 0.0

    def __init__(self, spec: ModelSpec, bench: Bench, task: str, network: Network | None = None) -> None:
        self.name = spec.name
        self.network = network or Network(spec.folder, bench.device)
        processor = self.network.processor.image_processor
        self._factor: int = processor.patch_size * processor.merge_size
        self._least: int = processor.size["shortest_edge"]
        self._most: int = min(processor.size["longest_edge"], _MOST_PIXELS)
        self.weights_sha256 = spec.verify()
        self.preprocessing = f"srgb-on-{bench.settings.background}-bicubic-{self._factor}s-to-{self._most}-{task}"
        self.precision = precision_name(torch.float32)
        # Not as other encoders' ids, which begin with their model's name: pictures are not alike by these numbers.
        self.id = f"{spec.name}:{task}/{self.preprocessing}/{self.weights_sha256[:16]}"
        self.largest_batch = 16 if bench.device.type == "cuda" else 1
        self._device = bench.device
        question, stem = QUESTIONS[task]
        content = [{"type": "image"}, {"type": "text", "text": question}]
        said = self.network.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        self._text: str = said + stem

    def prepare(self, image: Image.Image) -> View:
        """Both sides a multiple of what becomes one token, reduced or enlarged as its checkpoints say."""
        if max(image.size) > _LONGEST * min(image.size):
            raise BadInput(
                f"it is {image.width}×{image.height} pixels, and Q-ReAlign judges none whose one side is more than "
                f"{_LONGEST} times the other",
                "crop it",
            )
        height, width = smart_resize(image.height, image.width, self._factor, self._least, self._most)
        return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))

    @torch.inference_mode()
    def embed(self, views: Sequence[View]) -> torch.Tensor:
        rows: dict[int, torch.Tensor] = {}
        # Views of one size become as many tokens: they go through together, and nothing has to be filled up.
        for shape in dict.fromkeys(v.shape for v in views):
            which = [i for i, v in enumerate(views) if v.shape == shape]
            rows.update(zip(which, self._shares([views[i] for i in which]), strict=True))
        return torch.stack([rows[i] for i in range(len(views))])

    embed_precisely = embed

    def _shares(self, views: Sequence[View]) -> torch.Tensor:
        images = [Image.fromarray(v) for v in views]
        inputs = self.network.processor(text=[self._text] * len(views), images=images, return_tensors="pt")
        said = self.network.model(**inputs.to(self._device), logits_to_keep=1, use_cache=False)
        shares = said.logits[:, -1, self.network.level_ids].float().log_softmax(-1)
        rounded = shares.half().float()
        return torch.cat((rounded, shares - rounded), dim=1)


class LevelScorer:
    """1 to 10: 1 + 9 times the mean of the levels, each weighed by its share."""

    slope = 0.0  # nobody asks: its encoder has no error

    def __init__(self, spec: ModelSpec, encoder: LevelEncoder) -> None:
        self.name = spec.name
        self.encoder = encoder
        self.weights_sha256 = encoder.weights_sha256
        self._weights = torch.tensor(list(LEVELS.values()))

    def rate(self, embeddings: torch.Tensor) -> torch.Tensor:
        shares = (embeddings[:, : len(LEVELS)] + embeddings[:, len(LEVELS) :]).softmax(-1)
        return 1 + 9 * shares @ self._weights


def load(spec: ModelSpec, bench: Bench) -> LevelScorer:
    wanted, task = spec.encoder, spec.defaults.get("task", "aesthetics")
    if wanted is None or task not in QUESTIONS:
        raise UsageError(
            f"scorer '{spec.name}' has no encoder, or no task that is known",
            f"give its entry an encoder, and defaults = {{ task = one of {', '.join(QUESTIONS)} }}",
        )
    key = f"{wanted.name}/{task}"
    if key not in bench.encoders:
        loaded = [each for each in bench.encoders.values() if isinstance(each, LevelEncoder)]
        network = next((each.network for each in loaded if each.name == wanted.name), None)
        bench.encoders[key] = LevelEncoder(wanted, bench, task, network)
    found = bench.encoders[key]
    assert isinstance(found, LevelEncoder)
    return LevelScorer(spec, found)
