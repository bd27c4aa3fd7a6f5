"""Panels: several scorers, one look; what is known already; the stream of pictures through them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from hotfolder.core.gate import ALL_PRECISE
from hotfolder.engines.scoring.ensemble import Judgement, ScorerEnsemble
from hotfolder.engines.scoring.stream import Looker, PixelBudget, judge_all
from hotfolder.errors import ScoreFailed
from hotfolder.types import Item, Outcome, Precise, Remembered, RunnerSettings, Score
from tests.support.roots import picture
from tests.support.standin import StandInEncoder, StandInScorer, ensemble

RED = Image.new("RGB", (20, 10), (255, 51, 0))
BLACK = Image.new("RGB", (20, 10))


def test_scorers_on_one_encoder_share_its_look() -> None:
    eye = StandInEncoder()
    judges = ensemble("red", StandInScorer("red", eye, 0), StandInScorer("green", eye, 1))
    judged = judges.judge([RED, BLACK, RED])
    assert (eye.prepared, sum(eye.sizes)) == (3, 3)
    assert [j.score.value for j in judged] == pytest.approx([10, 1, 10])
    assert [[(p.scorer, p.value) for p in j.parts] for j in judged] == [
        [("green", pytest.approx(2.8))], [("green", pytest.approx(1))], [("green", pytest.approx(2.8))],
    ]  # fmt: skip
    assert [len(j.embeddings) for j in judged] == [1, 1, 1]


def test_a_formula_is_a_score_of_its_own_beside_its_parts() -> None:
    eye, other = StandInEncoder(), StandInEncoder("other")
    judges = ensemble("0.5*red + 0.5*green", StandInScorer("red", eye, 0), StandInScorer("green", other, 1))
    (judged,) = judges.judge([RED])
    assert judged.score.value == pytest.approx(6.4)
    assert judged.score.scorer == "0.5*red + 0.5*green"
    assert len(judged.score.weights_sha256) == 64
    assert [part.scorer for part in judged.parts] == ["red", "green"]
    assert [e.encoder for e in judged.embeddings] == ["stand-in", "other"]


def test_out_of_memory_halves_the_batch_and_loses_none() -> None:
    def small_device(images: int) -> None:
        if images > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    eye = StandInEncoder(largest_batch=64, trouble=small_device)
    judges = ensemble("red", StandInScorer("red", eye))
    runner = judges.runners["stand-in"]
    runner.sizing = type(runner.sizing)(16, 64)
    images = [Image.new("RGB", (4, 4), (level, 0, 0)) for level in range(0, 250, 10)]
    values = [judged.score.value for judged in judges.judge(images)]
    assert values == pytest.approx([1 + 9 * level / 255 for level in range(0, 250, 10)])
    assert eye.sizes[:4] == [16, 8, 4, 2]
    assert max(eye.sizes[3:]) == 2


def test_one_image_that_is_too_much_for_the_device_is_an_error() -> None:
    def no_memory(_: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        ensemble("red", StandInScorer("red", StandInEncoder(trouble=no_memory))).judge([RED])


def test_another_error_of_the_device_is_not_taken_for_lack_of_memory() -> None:
    def broken(_: int) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    eye = StandInEncoder(trouble=broken)
    with pytest.raises(RuntimeError, match="illegal"):
        ensemble("red", StandInScorer("red", eye)).judge([RED])
    assert eye.sizes == [1]


def test_a_scorer_without_a_number_is_an_error_for_its_picture_alone() -> None:
    class Half(StandInScorer):
        def rate(self, embeddings: torch.Tensor) -> torch.Tensor:
            return super().rate(embeddings).masked_fill(embeddings[:, 0] > 0.5, float("nan"))

    judges = ensemble("red", Half("red", StandInEncoder()))
    bad, good = judges.finish(judges.start([judges.look(RED), judges.look(BLACK)]))
    assert isinstance(bad, ScoreFailed)
    assert isinstance(good, Judgement)


# --- what is known already -----------------------------------------------------------------------


class Notebook(dict[str, Remembered]):
    def recall(self, sha256: str) -> Remembered | None:
        return self.get(sha256)


def judge_files(
    judges: object,
    paths: Sequence[Path],
    memory: Notebook | None = None,
    threads: int = 2,
    precise: Precise | None = None,
    **params: object,
) -> dict[int, Outcome | Exception]:
    found: dict[int, Outcome | Exception] = {}

    def emit(outcome: Outcome) -> None:
        assert outcome.job_id not in found
        found[outcome.job_id] = outcome
        if memory is not None and outcome.score and outcome.source:
            memory[outcome.source.sha256] = Remembered(
                outcome.source.width, outcome.source.height, (outcome.score, *outcome.parts), outcome.embeddings
            )

    items = [Item(number, 1, str(path), "", params, precise or Precise()) for number, path in enumerate(paths)]
    with ThreadPoolExecutor(threads) as pool:
        look = Looker(judges, RunnerSettings(), memory)  # type: ignore[arg-type]
        judge_all(judges, items, look, pool, emit, lambda item, error: found.update({item.job_id: error}))  # type: ignore[arg-type]
    return found


def test_the_same_content_is_not_judged_again(tmp_path: Path) -> None:
    paths = [picture(tmp_path / f"{n}.png", n) for n in range(3)]
    (tmp_path / "copy.png").write_bytes(paths[0].read_bytes())
    eye, memory = StandInEncoder(), Notebook()
    judges = ensemble("red", StandInScorer("red", eye))
    first = judge_files(judges, paths, memory)
    again = judge_files(judges, [tmp_path / "copy.png", *paths], memory)
    assert sum(eye.sizes) == 3
    assert eye.prepared == 3
    assert again[0].score == first[0].score  # type: ignore[union-attr]
    assert again[0].source == first[0].source  # type: ignore[union-attr]
    assert again[0].embeddings == ()  # type: ignore[union-attr]


def test_a_new_scorer_works_from_what_the_encoder_saw_before(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", 1)
    eye, memory = StandInEncoder(), Notebook()
    judge_files(ensemble("red", StandInScorer("red", eye)), [path], memory)
    fresh = ensemble("green", StandInScorer("green", StandInEncoder(), 1)).judge([Image.open(path)])[0].score
    (found,) = judge_files(ensemble("green", StandInScorer("green", eye, 1)), [path], memory).values()
    assert isinstance(found, Outcome)
    assert found.score is not None
    assert sum(eye.sizes) == 1
    assert found.score.value == pytest.approx(fresh.value, abs=9 * 2**-11)
    assert (found.score.precision, fresh.precision) == ("stored-float16", "float32")


def test_other_weights_are_another_scorer(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", 1)
    eye, memory = StandInEncoder(), Notebook()
    judge_files(ensemble("red", StandInScorer("red", eye)), [path], memory)
    other = StandInScorer("red", eye, 2)
    other.weights_sha256 = "f" * 64
    (found,) = judge_files(ensemble("red", other), [path], memory).values()
    assert isinstance(found, Outcome)
    assert found.score is not None
    assert found.score.weights_sha256 == "f" * 64


def test_a_known_content_is_not_even_read(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", 1)
    memory, judges = Notebook(), ensemble("red", StandInScorer("red", StandInEncoder()))
    judge_files(judges, [path], memory)
    (sha256,) = memory
    path.unlink()
    (found,) = judge_files(judges, [path], memory, sha256=sha256).values()
    assert isinstance(found, Outcome)


def test_a_file_that_is_not_what_was_recorded_is_not_judged_as_such(tmp_path: Path) -> None:
    judges = ensemble("red", StandInScorer("red", StandInEncoder()))
    (found,) = judge_files(judges, [picture(tmp_path / "a.png", 1)], Notebook(), sha256="0" * 64).values()
    assert "not what it was" in str(found)


# --- precision -----------------------------------------------------------------------------------

KEEP = 5.5
#: Reds whose scores are 0.02 below the threshold, far below, and 0.02 above; half precision is off by 0.09 at most.
BELOW, FAR, ABOVE = (Image.new("RGB", (8, 8), (level, 0, 0)) for level in (127, 60, 128))


def half(off: float, text: str = "red", **given: object) -> tuple[ScorerEnsemble, StandInEncoder]:
    eye = StandInEncoder(off=off)
    return ensemble(text, StandInScorer("red", eye), StandInScorer("green", eye, 1), **given), eye  # type: ignore[arg-type]


def scores_of(judges: ScorerEnsemble, images: Sequence[Image.Image], precise: Precise) -> list[Score]:
    found = judges.finish(judges.start([judges.look(image, None, precise) for image in images]))
    assert all(isinstance(each, Judgement) for each in found)
    return [each.score for each in found]  # type: ignore[union-attr]


@pytest.mark.parametrize("off", [0.005, -0.005])
def test_near_a_threshold_a_score_is_taken_in_float32_so_that_every_machine_decides_alike(off: float) -> None:
    judges, eye = half(off)
    found = scores_of(judges, [BELOW, FAR, ABOVE], Precise((KEEP,)))
    assert [score.precision for score in found] == ["float32", "bfloat16", "float32"]
    below, far, above = (1 + 9 * level / 255 for level in (127, 60, 128))
    assert [score.value for score in found] == pytest.approx([below, far + 9 * off, above])
    assert [score.value >= KEEP for score in found] == [False, False, True]
    assert sum(eye.precisely) == 2


def test_what_decides_nothing_stays_in_the_devices_precision() -> None:
    judges, eye = half(0.005)
    assert {s.precision for s in scores_of(judges, [BELOW, FAR, ABOVE], Precise())} == {"bfloat16"}
    assert {s.precision for s in scores_of(judges, [BELOW, ABOVE], Precise((2.0, 9.0)))} == {"bfloat16"}
    assert eye.precisely == []


def test_from_a_score_on_all_are_taken_in_float32() -> None:
    judges, _ = half(-0.005)
    found = scores_of(judges, [FAR, ABOVE, RED], Precise(at_least=KEEP))
    assert [score.precision for score in found] == ["bfloat16", "float32", "float32"]


def test_scores_that_are_compared_with_each_other_are_taken_in_float32_at_once() -> None:
    judges, eye = half(0.005)
    found = judges.finish(judges.start([judges.look(image, None, ALL_PRECISE) for image in (FAR, RED)]))
    assert [each.score.precision for each in found] == ["float32", "float32"]  # type: ignore[union-attr]
    assert [part.precision for each in found for part in each.parts] == ["float32", "float32"]  # type: ignore[union-attr]
    assert (eye.sizes, sum(eye.precisely)) == ([], 2)
    assert [len(each.embeddings) for each in found] == [1, 1]  # type: ignore[union-attr]


def test_the_bound_of_a_formula_is_that_of_its_parts() -> None:
    image = Image.new("RGB", (8, 8), (128, 128, 0))
    for factor, precision in (("0.5", "float32"), ("0.01", "bfloat16")):
        text = f"{factor}*red + {factor}*green"
        judges, _ = half(0.002, text)
        middle = 2 * float(factor) * (1 + 9 * 128 / 255)
        assert scores_of(judges, [image], Precise((middle - 0.05,)))[0].precision == precision


def test_a_score_without_a_number_is_taken_again_in_float32() -> None:
    judges, eye = half(float("nan"))
    (score,) = scores_of(judges, [RED], Precise())
    assert (score.value, score.precision) == (pytest.approx(10), "float32")
    assert eye.precisely == [1]


def test_a_remembered_score_counts_as_it_was_recorded(tmp_path: Path) -> None:
    """In half precision, near a threshold: the picture is looked at once more; elsewhere it is not even read."""
    memory = Notebook()
    near, far = tmp_path / "near.png", tmp_path / "far.png"
    ABOVE.save(near)
    FAR.save(far)
    judges, eye = half(0.005)
    first = judge_files(judges, [near, far], memory)
    assert [o.score.precision for o in first.values()] == ["bfloat16", "bfloat16"]  # type: ignore[union-attr]
    shas = {name: o.source.sha256 for name, o in zip(("near", "far"), first.values(), strict=True)}  # type: ignore[union-attr]
    again, eye = half(-0.005)
    precise = Precise((KEEP,))
    found = judge_files(again, [near, far], memory, precise=precise)
    assert [o.score.precision for o in found.values()] == ["float32", "bfloat16"]  # type: ignore[union-attr]
    assert (eye.sizes, eye.precisely, eye.prepared) == ([], [1], 1)
    far.unlink()
    (kept,) = judge_files(again, [far], memory, precise=precise, sha256=shas["far"]).values()
    assert kept.score == found[1].score  # type: ignore[union-attr]
    # What float32 said is remembered, beside the first score, and preferred.
    known = memory[shas["near"]]
    memory[shas["near"]] = replace(known, scores=(*first[0].parts, first[0].score, *known.scores))  # type: ignore
    near.unlink()
    (kept,) = judge_files(again, [near], memory, precise=precise, sha256=shas["near"]).values()
    assert kept.score == found[0].score  # type: ignore[union-attr]


def test_a_stored_embedding_is_no_verdict_near_a_threshold(tmp_path: Path) -> None:
    path, memory = tmp_path / "a.png", Notebook()
    ABOVE.save(path)
    eye = StandInEncoder(off=0.005)
    judge_files(ensemble("green", StandInScorer("green", eye, 1)), [path], memory)
    for near, precision in ((KEEP, "float32"), (9.0, "stored-float16")):
        fresh = StandInEncoder(off=0.005)
        judges = ensemble("red", StandInScorer("red", fresh))
        (found,) = judge_files(judges, [path], Notebook(memory), precise=Precise((near,))).values()
        assert found.score.precision == precision  # type: ignore[union-attr]
        assert fresh.sizes == []


# --- the stream ----------------------------------------------------------------------------------


def test_broken_pictures_fail_alone_and_all_others_are_judged(tmp_path: Path) -> None:
    paths = [picture(tmp_path / f"{n}.png", n) for n in range(40)]
    for number in range(0, 40, 8):
        paths[number].write_bytes(paths[number].read_bytes()[: 40 + number * 4])
    found = judge_files(ensemble("red", StandInScorer("red", StandInEncoder())), paths, threads=4)
    assert sorted(found) == list(range(40))
    assert [n for n, outcome in found.items() if isinstance(outcome, Exception)] == [0, 8, 16, 24, 32]


def test_after_a_stop_no_more_is_begun(tmp_path: Path) -> None:
    paths = [picture(tmp_path / f"{n}.png", n) for n in range(30)]
    judges = ensemble("red", StandInScorer("red", StandInEncoder(largest_batch=1)))
    judged: list[Outcome] = []
    items = [Item(number, 1, str(path), "") for number, path in enumerate(paths)]
    with ThreadPoolExecutor(2) as pool:
        judge_all(
            judges, items, Looker(judges, RunnerSettings(), None), pool, judged.append,
            lambda *_: None, lambda: len(judged) >= 5,
        )  # fmt: skip
    assert 5 <= len(judged) <= 8


def test_decoded_pixels_are_bounded_and_a_giant_still_gets_through() -> None:
    budget, held, most, counting = PixelBudget(100), 0, 0, threading.Lock()

    def work(pixels: int) -> None:
        nonlocal held, most
        with budget.hold(pixels):
            with counting:
                held += pixels
                most = max(most, held) if pixels <= 100 else most
            with counting:
                held -= pixels

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [40, 60, 500, 1, 99, 100, 30] * 50))
    assert 0 < most <= 100
    assert held == 0


_MEMORY = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from hotfolder.engines.scoring.stream import Looker, judge_all
from hotfolder.types import Item, RunnerSettings
from tests.support.standin import StandInEncoder, StandInScorer, ensemble
judges = ensemble("red", StandInScorer("red", StandInEncoder()))
ended = []
for count in map(int, sys.argv[2:]):
    items = [Item(n, 1, sys.argv[1], "") for n in range(count)]
    with ThreadPoolExecutor(2) as pool:
        look = Looker(judges, RunnerSettings(), None)
        judge_all(judges, items, look, pool, ended.append, lambda item, error: sys.exit(str(error)))
    print(len(ended), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_stays_flat_however_many_pictures_there_are(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", 1, (1024, 1024))
    path = tmp_path / "a.jpg"
    Image.open(tmp_path / "a.png").save(path)
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY, str(path), "64", "512"], capture_output=True, text=True, check=True
    )
    (few, before), (all_, after) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert (few, all_) == (64, 576)
    assert after - before < 16 * 1024  # KB; one decoded picture alone has 3 MB
