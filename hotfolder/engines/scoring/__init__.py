"""Scorers: one protocol, one small file each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from hotfolder.engines.imports import without_collection

if TYPE_CHECKING:
    from hotfolder.engines.scoring.base import Bench, Scorer
    from hotfolder.models.registry import ModelSpec


def load_scorer(spec: ModelSpec, bench: Bench) -> Scorer:
    """The scorer that reads this model's files: `load` of the module that the registry names as its loader.

    Raises ModelDamaged when the weights are not what they should be, or do not give the golden values.
    """
    with without_collection():  # open_clip takes its time
        module = import_module(f"hotfolder.engines.scoring.{spec.loader}")
    scorer: Scorer = module.load(spec, bench)
    return scorer
