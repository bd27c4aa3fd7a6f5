"""Scorers: one protocol, one small file each."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from hotfolder.engines.imports import without_collection

if TYPE_CHECKING:
    from hotfolder.engines.scoring.base import Bench, Encoder, PromptedScorer, Scorer
    from hotfolder.models.registry import ModelSpec


def load_scorer(spec: ModelSpec, bench: Bench) -> Scorer | PromptedScorer:
    """The scorer that reads this model's files: `load` of the module that the registry names as its loader.

    Raises ModelDamaged when the weights are not what they should be, or do not give the golden values.
    """
    scorer: Scorer | PromptedScorer = _module(spec).load(spec, bench)
    return scorer


def load_encoder(spec: ModelSpec, bench: Bench) -> Encoder:
    """The encoder that a scorer's model names, loaded once for all that do: `load_encoder` of its loader's module.

    Raises ModelDamaged.
    """
    wanted = spec.encoder
    assert wanted is not None
    if wanted.name not in bench.encoders:
        bench.encoders[wanted.name] = _module(wanted).load_encoder(wanted, bench)
    return bench.encoders[wanted.name]


def _module(spec: ModelSpec) -> ModuleType:
    with without_collection():  # open_clip takes its time
        return import_module(f"hotfolder.engines.scoring.{spec.loader}")
