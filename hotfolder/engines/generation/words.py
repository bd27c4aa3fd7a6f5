"""Prompts for CLIP that are longer than it reads at once, or whose words have weights: through compel.

CLIP reads 75 tokens. compel (github.com/damian0815/compel) cuts what is longer at its punctuation, reads piece by
piece, and moves weighted words away from, or towards, those of an empty prompt. A plain prompt that fits does not come
here: its pixels are those of diffusers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from hotfolder.core.families import Family
from hotfolder.core.prompts.emphasis import Sections, is_plain, parse, plain_text
from hotfolder.models.registry import ModelSpec

#: What compel is asked for by its name, so that it is only imported where it is used: that takes a second.
_LAST, _LAST_BUT_ONE = "LAST_HIDDEN_STATES_NORMALIZED", "PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED"


def without_false_alarm(pipeline: Any) -> None:
    """transformers says of a long prompt that it "will result in indexing errors": here it never does.

    CLIP gets it in pieces, and of what another model does not read the image's notes tell: see `without_effect`.
    """
    for name in ("tokenizer", "tokenizer_2"):
        if (tokenizer := _tokenizer(pipeline, name)) is not None:
            tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True


def _tokenizer(pipeline: Any, name: str) -> Any:
    """None where there is none of that name. A processor, which also reads pictures, has one within.

    That of ChatGLM, which Kolors reads with, has something within, too, that is none.
    """
    found = getattr(pipeline, name, None)
    return found if isinstance(found, PreTrainedTokenizerBase) else getattr(found, "tokenizer", found)


class ClipWords:
    """Of a pipeline with one CLIP (Stable Diffusion 1.5), or two (SDXL)."""

    def __init__(self, pipeline: Any) -> None:
        self._tokenizers = [
            t for t in (pipeline.tokenizer, getattr(pipeline, "tokenizer_2", None)) if t is not None
        ]

    def pieces(self, prompt: str) -> int:
        """In how many pieces it has to be read; 0 for one that needs no help."""
        sections = parse(prompt)
        if is_plain(sections) and all(self._fits(tokenizer, sections) for tokenizer in self._tokenizers):
            return 0
        return max(
            sum(len(_tokens(_provider(tokenizer, None, _LAST, "cpu"), section)[0]) for section in sections)
            // tokenizer.model_max_length
            for tokenizer in self._tokenizers
        )

    @staticmethod
    def plain(prompt: str) -> str:
        """The words of one that needs no help."""
        return plain_text(parse(prompt))

    def embedded(
        self, pipeline: Any, prompts: Sequence[str], negative: str, pieces: int
    ) -> dict[str, torch.Tensor]:
        """What the pipeline is given in the place of words; all have so many pieces, or fewer and nothing behind."""
        device = pipeline._execution_device
        encoders = [pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None)][: len(self._tokenizers)]
        which = _LAST if len(encoders) == 1 else _LAST_BUT_ONE
        providers = [
            _provider(tokenizer, encoder, which, device)
            for tokenizer, encoder in zip(self._tokenizers, encoders, strict=True)
        ]
        read = [
            torch.cat([_read(provider, text, pieces, device) for provider in providers], -1) for text in prompts
        ]
        unwanted = torch.cat([_read(provider, negative, pieces, device) for provider in providers], -1)
        given = {
            "prompt_embeds": torch.cat(read),
            "negative_prompt_embeds": unwanted.repeat(len(prompts), 1, 1),
        }
        if len(encoders) > 1:
            pooled = [_pooled(providers[-1], text, device) for text in (*prompts, negative)]
            given["pooled_prompt_embeds"] = torch.cat(pooled[:-1])
            given["negative_pooled_prompt_embeds"] = pooled[-1].repeat(len(prompts), 1)
            if not negative and pipeline.config.force_zeros_for_empty_prompt:  # as the pipeline itself does
                for key in ("negative_prompt_embeds", "negative_pooled_prompt_embeds"):
                    given[key] = torch.zeros_like(given[key])
        return given

    @staticmethod
    def _fits(tokenizer: Any, sections: Sections) -> bool:
        count: int = len(tokenizer(plain_text(sections), truncation=False, verbose=False)["input_ids"])
        return count <= tokenizer.model_max_length


def _provider(tokenizer: Any, encoder: Any, which: str, device: Any) -> Any:
    from compel.embeddings_provider import EmbeddingsProvider, ReturnedEmbeddingsType, SplitLongTextMode

    return EmbeddingsProvider(
        tokenizer,
        encoder,
        truncate=False,
        returned_embeddings_type=ReturnedEmbeddingsType[which],
        device=device,
        split_long_text_mode=SplitLongTextMode.PHRASES,
    )


def _tokens(provider: Any, section: Sequence[Any], device: Any = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers and weights of the tokens, in whole pieces."""
    texts, weights = [each.text for each in section], [each.weight for each in section]
    tokens, per_token, _ = provider.get_token_ids_and_expand_weights(texts, weights, device)
    return tokens, per_token


def _read(provider: Any, text: str, pieces: int, device: Any) -> torch.Tensor:
    """(1, tokens, width), with empty pieces behind."""
    parts = []
    for section in parse(text):
        tokens, weights = _tokens(provider, section, device)
        parts.append(provider.build_weighted_embedding_tensor(tokens, weights, device=device))
    found = torch.cat(parts, 1)
    lacking = pieces - found.shape[1] // provider.max_token_count
    return torch.cat([found, *[provider.empty_z.to(found)] * lacking], 1)


def _pooled(provider: Any, text: str, device: Any) -> torch.Tensor:
    """SDXL's summary of the first piece."""
    tokens, _ = _tokens(provider, parse(text)[0], device)
    output = provider.text_encoder(tokens[: provider.max_token_count].unsqueeze(0), return_dict=True)
    summary: torch.Tensor = output.text_embeds
    return summary


def count_tokens(pipeline: Any, family: Family, prompt: str) -> int:
    """As its own tokenizer reads it, without what the family's template adds."""
    return len(_tokenizer(pipeline, family.tokenizer)(prompt, truncation=False, verbose=False)["input_ids"])


def without_effect(pipeline: Any, prompt: str, family: Family, spec: ModelSpec) -> list[str]:
    """What of a prompt a model that reads plain language takes otherwise than it may be meant, or does not read."""
    notes = []
    if not is_plain(sections := parse(prompt)):
        strong = next((each.text for section in sections for each in section if each.weight != 1), "BREAK")
        notes.append(f"weights and BREAK are words to {spec.name}, as in '{strong.strip()[:40]}'")
    most = spec.defaults.get("max_sequence_length")
    if most and (tokenizer := _tokenizer(pipeline, family.tokenizer)) is not None:
        most -= family.template
        tokens = tokenizer(prompt, truncation=False, add_special_tokens=True, verbose=False)["input_ids"]
        if len(tokens) > most:
            rest = tokenizer.decode(tokens[most - 1 :], skip_special_tokens=True)
            notes.append(f"{spec.name} reads {most} tokens of the prompt's {len(tokens)}: not '{rest[:60]}'")
    return notes
