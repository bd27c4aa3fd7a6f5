"""A taste as a scorer: beside its prior, in formulas, from stored embeddings alone."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hotfolder.engines.scoring.ensemble import ScorerEnsemble
from hotfolder.errors import ModelDamaged, ModelMissing
from hotfolder.models import taste_heads
from hotfolder.models.taste_heads import Facts, Head
from hotfolder.types import Embedding, Remembered, RunnerSettings
from tests.support.shell import constant_tower, random_head

pytestmark = pytest.mark.slow
CPU = torch.device("cpu")
FACTS = Facts(
    inbox="score", level="direction", encoder="", prior="technical", keep=6.5, spread=0.5, labels=40, pairs=0,
    digest="0" * 64, learnt_at=1.0, strength=1.0, a=1.0, c=0.2, own_a=1.0, own_c=0.1, offset=0.1, threshold=6.4,
    threshold_lowest=6.2, threshold_highest=6.6, auc=0.8, auc_error=0.03, prior_auc=0.7, sureness=2.0, brier=0.2,
    calibration=(1.0, 0.0), is_floored=False,
)  # fmt: skip


def stored(folder: Path, head: Head) -> str:
    name, content = taste_heads.packed(head)
    folder.mkdir(exist_ok=True)
    (folder / f"{name}{taste_heads.ENDING}").write_bytes(content)
    return name


def encoder_of(text: str, settings: RunnerSettings) -> str:
    (encoder,) = ScorerEnsemble.load(text, settings, CPU).encoders
    return encoder


def test_it_adds_its_parts_to_the_prior_and_records_both(tmp_path: Path) -> None:
    settings = RunnerSettings(tastes=str(tmp_path / "taste"))
    encoder = encoder_of("technical", settings)
    weight = np.random.default_rng(0).normal(0, 0.1, 192).astype(np.float32)
    name = stored(tmp_path / "taste", Head(replace(FACTS, encoder=encoder), weight, 0.25))
    image = Image.effect_noise((96, 64), 80).convert("RGB")
    plain = ScorerEnsemble.load("technical", settings, CPU).judge([image])[0]
    tasted = ScorerEnsemble.load(f"taste:{name}", settings, CPU).judge([image])[0]
    vector = np.frombuffer(base64.b64decode(plain.embeddings[0].vector), "<f2").astype(np.float64)
    assert tasted.score.value == pytest.approx(plain.score.value + 0.1 + 0.25 + float(vector @ weight), abs=2e-3)
    assert tasted.score.scorer == "taste" and len(tasted.score.weights_sha256) == 64
    assert [part.scorer for part in tasted.parts] == ["technical"]
    mixed = ScorerEnsemble.load(f"0.7*technical + 0.3*taste:{name}", settings, CPU).judge([image])[0]
    assert mixed.score.scorer == "0.7*technical + 0.3*taste"
    wanted = 0.7 * plain.score.value + 0.3 * tasted.score.value
    assert mixed.score.value == pytest.approx(wanted, abs=1e-5)


def test_a_formula_with_laion_follows_from_stored_embeddings_without_the_picture(tmp_path: Path) -> None:
    models = tmp_path / "models"
    constant_tower(models / "clip-vit-l-14/clip-vit-l-14.safetensors")
    random_head(models / "mine/head.pth")
    entry = {
        "name": "laion-mine",
        "kind": "score",
        "encoder": "clip-vit-l-14",
        "files": [{"path": "mine/head.pth"}],
    }
    settings = RunnerSettings(model_folders=(str(models),), model_entries=(entry,), tastes=str(tmp_path / "taste"))
    encoder = encoder_of("laion-mine", settings)
    rng = np.random.default_rng(1)
    weight = rng.normal(0, 1, 768).astype(np.float32)
    name = stored(tmp_path / "taste", Head(replace(FACTS, encoder=encoder, prior="laion-mine"), weight, -0.5))
    vector = rng.normal(size=768)
    vector = (vector / np.linalg.norm(vector)).astype("<f2")
    known = Remembered(8, 8, (), (Embedding(encoder, base64.b64encode(vector.tobytes()).decode()),))
    ensemble = ScorerEnsemble.load(f"0.7*laion-mine + 0.3*taste:{name}", settings, CPU)
    assert ensemble.missing(known) == []
    (judgement,) = ensemble.finish(ensemble.start([ensemble.look(None, known)]))
    assert not isinstance(judgement, Exception)
    parts = {part.scorer: part.value for part in judgement.parts}
    personal = float(vector.astype(np.float64) @ weight)
    assert parts["taste"] == pytest.approx(parts["laion-mine"] + 0.1 - 0.5 + personal, abs=1e-4)
    assert judgement.score.value == pytest.approx(0.7 * parts["laion-mine"] + 0.3 * parts["taste"], abs=1e-5)


def test_a_head_for_another_encoder_is_refused(tmp_path: Path) -> None:
    settings = RunnerSettings(tastes=str(tmp_path / "taste"))
    name = stored(
        tmp_path / "taste", Head(replace(FACTS, encoder="technical/other/0"), np.zeros(192, np.float32), 0)
    )
    with pytest.raises(ModelDamaged, match="learnt from what"):
        ScorerEnsemble.load(f"taste:{name}", settings, CPU)
    with pytest.raises(ModelMissing, match="not there any more"):
        ScorerEnsemble.load("taste:score-3-0123456789ab", settings, CPU)
