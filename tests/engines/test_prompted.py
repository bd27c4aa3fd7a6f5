"""Scorers that judge by the prompt: whose it is, and what becomes of pictures without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from hotfolder.core.gate import ALL_PRECISE
from hotfolder.engines.scoring.ensemble import Judgement
from hotfolder.errors import NoPrompt
from hotfolder.types import FailureClass, Outcome, Precise, Remembered, Score
from tests.engines.test_scoring import Notebook, judge_files
from tests.support.standin import StandInEncoder, StandInPrompted, StandInScorer, ensemble

ORANGE = Image.new("RGB", (20, 10), (255, 102, 0))
RED, GREEN, BLUE = 10.0, 4.6, 1.0  # what the channels of that are worth


def orange(path: Path, **texts: str) -> Path:
    """Its texts are a PNG's, by their keywords."""
    info = PngImagePlugin.PngInfo()
    for keyword, text in texts.items():
        info.add_text(keyword, text)
    ORANGE.save(path, pnginfo=info)
    return path


def web_ui(prompt: str) -> str:
    return f"{prompt}\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 20x10"


def score_of(found: object) -> float:
    assert isinstance(found, Outcome)
    assert found.score is not None
    return found.score.value


def test_each_picture_is_judged_by_its_own_prompt(tmp_path: Path) -> None:
    eye = StandInEncoder(largest_batch=8)
    judges = ensemble("fit", StandInPrompted("fit", eye))
    paths = [
        orange(tmp_path / "a.png", hotfolder=json.dumps({"prompt": "very red"})),
        orange(tmp_path / "b.png", parameters=web_ui("some (green:1.3) <lora:x:0.5>")),
        orange(tmp_path / "c.png", prompt=json.dumps(comfyui("deep blue"))),
    ]
    found = judge_files(judges, paths)
    assert [score_of(found[n]) for n in range(3)] == pytest.approx([RED, GREEN, BLUE])
    versions = {found[n].score.weights_sha256 for n in range(3)}  # type: ignore[union-attr]
    assert len(versions) == 3  # scores by different prompts are not to be mixed up
    assert sum(eye.sizes) == 3


def comfyui(prompt: str) -> dict[str, object]:
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": prompt, "clip": ["1", 1]}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["1", 1]}},
        "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "5": {
            "class_type": "KSampler",
            "inputs": {
                "seed": 1, "steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0,
                "model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0],
            },
        },
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
        "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "x"}},
    }  # fmt: skip


def test_the_jobs_prompt_goes_before_the_databases_and_that_before_the_files(tmp_path: Path) -> None:
    path = orange(tmp_path / "a.png", parameters=web_ui("red"))
    judges = ensemble("fit", StandInPrompted("fit", StandInEncoder()))
    (alone,) = judge_files(judges, [path]).values()
    assert score_of(alone) == pytest.approx(RED)
    sha256 = alone.source.sha256  # type: ignore[union-attr]
    memory = Notebook({sha256: Remembered(20, 10, (), (), "green")})
    assert score_of(judge_files(judges, [path], memory)[0]) == pytest.approx(GREEN)
    assert score_of(judge_files(judges, [path], memory, prompt="blue")[0]) == pytest.approx(BLUE)


def test_the_same_content_is_judged_again_for_another_prompt_alone(tmp_path: Path) -> None:
    path = orange(tmp_path / "a.png")
    eye, memory = StandInEncoder(), Notebook()
    judges = ensemble("fit", StandInPrompted("fit", eye))
    judge_files(judges, [path], memory, prompt="red")
    first = Notebook(memory)
    judge_files(judges, [path], memory, prompt="red")
    assert eye.prepared == 1  # a score that is known
    assert score_of(judge_files(judges, [path], first, prompt="green")[0]) == pytest.approx(GREEN, abs=0.01)
    assert eye.prepared == 1  # from the embedding that is known


def test_a_picture_without_a_prompt_says_so_where_the_scorer_stands_beside(tmp_path: Path) -> None:
    eye = StandInEncoder()
    judges = ensemble("red", StandInScorer("red", eye), StandInPrompted("fit", eye))
    path, other = orange(tmp_path / "a.png"), orange(tmp_path / "b.png", parameters=web_ui("green"))
    found = judge_files(judges, [path, other], Notebook())
    without, with_it = found[0], found[1]
    assert isinstance(without, Outcome) and isinstance(with_it, Outcome)
    assert score_of(without) == pytest.approx(RED)
    assert without.parts == ()
    assert without.notes == ("it has no score by fit: no prompt of it is known",)
    assert [part.value for part in with_it.parts] == pytest.approx([GREEN])
    assert with_it.notes == ()


def test_a_formula_that_needs_a_prompt_fails_for_that_picture_alone(tmp_path: Path) -> None:
    eye = StandInEncoder()
    judges = ensemble("0.5*red + 0.5*fit", StandInScorer("red", eye), StandInPrompted("fit", eye))
    paths = [orange(tmp_path / "a.png"), orange(tmp_path / "b.png", parameters=web_ui("blue"))]
    error, good = judge_files(judges, paths, Notebook()).values()
    if isinstance(error, Outcome):
        error, good = good, error
    assert isinstance(error, NoPrompt)
    told = error.info()
    assert (told.kind, told.failure) == ("no_prompt", FailureClass.BAD_INPUT)
    assert "'fit' judges a picture by its prompt" in told.message and "gate.score" in told.fix
    assert score_of(good) == pytest.approx((RED + BLUE) / 2)


@pytest.mark.parametrize(
    "texts",
    [
        {"hotfolder": "[" * 5000},
        {"hotfolder": json.dumps({"prompt": 5})},
        {"parameters": "no settings at all"},
        {"prompt": "{"},
        {"parameters": web_ui("<lora:nothing>")},
        {"hotfolder": json.dumps({"prompt": "   "})},
    ],
)
def test_what_a_hostile_file_says_of_itself_is_no_prompt(texts: dict[str, str], tmp_path: Path) -> None:
    eye = StandInEncoder()
    judges = ensemble("red", StandInScorer("red", eye), StandInPrompted("fit", eye))
    (found,) = judge_files(judges, [orange(tmp_path / "a.png", **texts)]).values()
    assert score_of(found) == pytest.approx(RED)
    assert len(found.notes) == 1  # type: ignore[union-attr]


def test_who_asks_for_no_prompt_reads_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hotfolder.engines.scoring.stream.read_generation", None)
    found = judge_files(ensemble("red", StandInScorer("red", StandInEncoder())), [orange(tmp_path / "a.png")])
    assert score_of(found[0]) == pytest.approx(RED)


def test_near_a_threshold_it_is_asked_again_in_float32() -> None:
    eye = StandInEncoder(off=0.005)
    judges = ensemble("fit", StandInPrompted("fit", eye))
    near, far = Precise((GREEN,)), Precise((8.0,))
    looks = [judges.look(ORANGE, None, each, "green") for each in (near, far, ALL_PRECISE)]
    exact, rough, again = judges.finish(judges.start(looks))
    assert isinstance(exact, Judgement) and isinstance(rough, Judgement) and isinstance(again, Judgement)
    assert exact.score.value == again.score.value == pytest.approx(GREEN)
    assert (exact.score.precision, rough.score.precision) == ("float32", "bfloat16")
    assert rough.score.value == pytest.approx(GREEN + 0.045)


def test_a_steep_scorer_trusts_a_stored_embedding_less() -> None:
    """What float16 leaves of an embedding counts more the more a score changes with it."""
    eye = StandInEncoder()
    eye.half_error = 0.0
    (judged,) = ensemble("red", StandInScorer("red", eye)).judge([ORANGE])
    scores = {}
    for slope in (9.0, 900.0):
        scorer = StandInScorer("red", eye)
        scorer.slope = slope
        known = Remembered(20, 10, (), judged.embeddings)
        judges = ensemble("red", scorer)
        threshold = Precise((judged.score.value - 0.02,))
        scores[slope] = judges.missing(known, threshold)
    assert scores[9.0] == []
    assert scores[900.0] == [eye]


def test_a_recorded_score_is_of_the_prompt_that_it_was_given_for(tmp_path: Path) -> None:
    eye = StandInEncoder()
    prompted = StandInPrompted("fit", eye)
    version = prompted.with_prompt("red").weights_sha256
    known = Remembered(20, 10, (Score(3.3, "fit", version, eye.preprocessing, "float32"),), ())
    judges = ensemble("fit", prompted)
    assert judges.missing(known, prompt="red") == []
    assert judges.missing(known, prompt="green") == [eye]
