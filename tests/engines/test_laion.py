"""The LAION scorer: its real head, and a ViT-L/14 tower with seeded random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from hotfolder.demo.pictures import draw_landscape
from hotfolder.engines.scoring import load_scorer
from hotfolder.engines.scoring.laion import LaionScorer, load_head, preprocess
from hotfolder.errors import ModelDamaged
from hotfolder.models.registry import resolve
from hotfolder.types import Kind

HEAD = "sac+logos+ava1-l14-linearMSE.pth"
TOWER = "vit-l-14-openai.safetensors"
#: github.com/christophschuhmann/improved-aesthetic-predictor on ten real embeddings.
GOLDEN = (1.65548, 2.35927, 3.06982, 3.67245, 4.23801, 4.70102, 5.07305, 5.36536, 5.57666, 5.74676)


@pytest.fixture(scope="module")
def scorer(real_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> LaionScorer:
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    tower = open_clip.create_model("ViT-L-14-quickgelu", pretrained=None, load_weights=False).visual
    state = {f"visual.{name}": value.half().contiguous() for name, value in tower.state_dict().items()}
    save_file(state, folder / TOWER)
    (folder / HEAD).symlink_to(real_weights / HEAD)
    loaded = load_scorer(resolve("laion-v2", Kind.SCORE, (str(folder),)), torch.device("cpu"))
    (folder / TOWER).unlink()  # 0.6 GB
    assert isinstance(loaded, LaionScorer)
    return loaded


def test_the_golden_embeddings_give_the_golden_scores(real_weights: Path) -> None:
    weight, bias = load_head(real_weights / HEAD)
    embeddings = torch.from_numpy(np.load(real_weights / "laion-golden-embeddings.npz")["embeddings"])
    scores = torch.nn.functional.normalize(embeddings, dim=-1) @ weight + bias
    assert np.allclose(scores.numpy(), GOLDEN, atol=2e-5)


def test_scores_from_pictures_to_numbers(scorer: LaionScorer) -> None:
    images = [draw_landscape(1), Image.new("RGB", (40, 300), "red")]
    scores = scorer.rate([scorer.prepare(image) for image in images])
    assert len({score.value for score in scores}) == 2
    assert all(np.isfinite(score.value) for score in scores)
    assert scores[0].scorer == "laion-v2"
    assert scores[0].precision == "float32"


@pytest.mark.parametrize("size", [(224, 224), (1, 1), (223, 1000), (640, 225), (3000, 10)])
def test_every_size_becomes_the_towers_input(size: tuple[int, int]) -> None:
    view = preprocess(Image.new("RGB", size, (10, 20, 30)))
    assert view.shape == (224, 224, 3)
    assert (view == [10, 20, 30]).all()


def test_another_head_is_refused(tmp_path: Path, real_weights: Path) -> None:
    (tmp_path / HEAD).write_bytes((real_weights / HEAD).read_bytes()[:-1] + b"x")
    (tmp_path / TOWER).write_bytes(b"")
    with pytest.raises(ModelDamaged, match="is not the file"):
        load_scorer(resolve("laion-v2", Kind.SCORE, (str(tmp_path),)), torch.device("cpu"))
