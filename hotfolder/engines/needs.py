"""Which models a batch cannot do without: those that the model runner will look for."""

from __future__ import annotations

from hotfolder.core import formula
from hotfolder.core.prompts.tags import embeddings_in
from hotfolder.models.contents import Need
from hotfolder.models.registry import EMBEDDING, LORA
from hotfolder.types import Item, Kind, RunnerSettings


def needs_of(kind: Kind, model: str, settings: RunnerSettings) -> tuple[Need, ...]:
    """Whatever its jobs are; for scoring, `model` is a formula. Raises FormulaError."""
    if kind is Kind.SCORE:
        names = dict.fromkeys((*formula.parse(model).names, *settings.scorers))
        return tuple(Need(name, kind) for name in names)
    return (Need(model, kind, with_twin=kind is Kind.UPSCALE and settings.denoise is not None),)


def added_to(kind: Kind, item: Item) -> tuple[Need, ...]:
    """What one of its jobs takes on: LoRAs, and textual inversions."""
    if kind is not Kind.GENERATE:
        return ()
    loras = dict(item.params.get("lora") or ())
    texts = (item.params.get("prompt") or "", item.params.get("negative_prompt") or "")
    words = dict.fromkeys(name for text in texts for name in embeddings_in(text))
    return (*(Need(name, LORA) for name in loras), *(Need(name, EMBEDDING) for name in words))
