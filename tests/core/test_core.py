"""The pure decisions: settle, gate, retry, batching, naming."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotfolder.core import naming
from hotfolder.core.batching import BatchPolicy, pick_batch
from hotfolder.core.best_of import best
from hotfolder.core.gate import ALL_PRECISE, Gate, judge, next_seed, precise
from hotfolder.core.heartbeat import Heartbeat
from hotfolder.core.prompts import unsaid
from hotfolder.core.retry import Action, RetryPolicy, decide
from hotfolder.core.settle import SettlePolicy, Writers, observe, settle
from hotfolder.types import (
    ErrorInfo,
    FailureClass,
    GenerateParams,
    Job,
    JobParams,
    Kind,
    Precise,
    PromptSpec,
    Purpose,
    Role,
    ScoreParams,
    Sighting,
    UpscaleParams,
    Verdict,
)

GATE = Gate(keep=6.5, upscale=7.0, regenerate_below=5.0, max_attempts=3)
SEEN = Sighting("inbox/score/a.png", 10, 1, 2, 3)


# --- settle --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("writers", "quiet_for", "ready"),
    [
        (Writers.NONE, 0.4, False),
        (Writers.NONE, 0.5, True),
        (Writers.UNKNOWN, 0.5, False),
        (Writers.UNKNOWN, 3.0, True),
        (Writers.SOME, 1000.0, False),
    ],
)
def test_a_file_is_taken_after_its_quiet_time(writers: Writers, quiet_for: float, ready: bool) -> None:
    seen = observe(None, SEEN, 100.0)
    decision = settle(seen, writers, SettlePolicy(0.5, 3.0, 5.0), 100.0 + quiet_for)
    assert decision.ready is ready
    assert decision.reason
    assert ready or decision.look_again_at > 100.0


def test_every_change_starts_the_clock_anew() -> None:
    first = observe(None, SEEN, 100.0)
    assert observe(first, SEEN, 105.0).since == 100.0
    grown = Sighting(SEEN.path, 11, 1, 2, 3)
    assert observe(first, grown, 105.0).since == 105.0


# --- gate ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "role", "tries", "verdict", "upscale", "regenerate"),
    [
        (7.0, Role.GENERATED, 1, Verdict.KEEP, True, False),
        (6.99, Role.GENERATED, 1, Verdict.KEEP, False, False),
        (6.5, Role.DROPPED, 1, Verdict.KEEP, False, False),
        (6.49, Role.DROPPED, 1, Verdict.REJECT, False, False),
        (5.0, Role.GENERATED, 1, Verdict.REJECT, False, False),
        (4.99, Role.GENERATED, 1, Verdict.REJECT, False, True),
        (4.99, Role.GENERATED, 3, Verdict.REJECT, False, False),
        (1.0, Role.DROPPED, 1, Verdict.REJECT, False, False),
        (9.0, Role.UPSCALED, 1, None, False, False),
    ],
)
def test_the_gate(
    score: float, role: Role, tries: int, verdict: Verdict | None, upscale: bool, regenerate: bool
) -> None:
    decision = judge(score, role, tries, GATE)
    assert (decision.verdict, decision.upscale, decision.regenerate) == (verdict, upscale, regenerate)


def test_new_seeds_are_repeatable_and_do_not_run_into_each_other() -> None:
    seeds = {next_seed(seed, tries) for seed in range(100) for tries in range(2, 6)}
    assert len(seeds) == 400
    assert next_seed(7, 2) == next_seed(7, 2) <= 2**32 - 1


@pytest.mark.parametrize(
    ("lowest", "highest", "wanted"),
    [
        (6.40, 6.49, False),  # below keep, whatever it is
        (6.49, 6.50, True),
        (6.50, 6.51, False),  # at the threshold is kept already
        (4.99, 5.01, True),
        (6.98, 6.99, False),
        (6.99, 7.00, True),  # it may be enlarged: then its score is compared with that of the result
        (8.00, 8.01, True),
    ],
)
def test_scores_that_something_hangs_on_have_to_be_float32s(lowest: float, highest: float, wanted: bool) -> None:
    assert precise(ScoreParams(), GATE).wants(lowest, highest) is wanted


def test_scores_that_are_compared_with_each_other_have_to_be_float32s() -> None:
    drawn, one_of_a_set = (GenerateParams(PromptSpec("a", "", 1), set_number=number) for number in (None, 0))
    both: list[tuple[JobParams | None, bool]] = [
        (ScoreParams(Purpose.MEASURE), True), (ScoreParams(generated=one_of_a_set), True),
        (ScoreParams(generated=drawn), False), (ScoreParams(), False),
    ]  # fmt: skip
    for params, everywhere in both:
        assert precise(params, GATE).wants(1.0, 1.1) is everywhere
    for other in (None, drawn, UpscaleParams()):
        assert precise(other, GATE) == Precise()
    assert ALL_PRECISE.wants(-3.0, -2.0)
    assert not Precise().wants(-float("inf"), float("inf"))


# --- retry ---------------------------------------------------------------------------------------

POLICY = RetryPolicy(3, 5.0, 3, 15.0, 4.0)


def job(attempt: int = 1, deaths: int = 0, *, job_id: int = 1, kind: Kind = Kind.SCORE, model: str = "m") -> Job:
    return Job(job_id, kind, 1, "inbox/score/a.png", "inbox/score/a.png", model, attempt, 1, 100.0, deaths=deaths)


@pytest.mark.parametrize(
    ("failure", "attempt", "deaths", "seen_at", "action", "not_before"),
    [
        (FailureClass.BAD_INPUT, 1, 0, 90.0, Action.FAIL, None),
        (FailureClass.BAD_INPUT, 1, 0, 98.0, Action.WAIT, 102.0),
        (FailureClass.BAD_INPUT, 1, 0, None, Action.FAIL, None),
        (FailureClass.TRANSIENT, 1, 0, None, Action.RETRY, 105.0),
        (FailureClass.TRANSIENT, 2, 0, None, Action.RETRY, 110.0),
        (FailureClass.TRANSIENT, 3, 0, None, Action.FAIL, None),
        (FailureClass.ENVIRONMENT, 99, 9, None, Action.PAUSE, 115.0),
        (FailureClass.POISON, 1, 1, None, Action.RETRY, 105.0),
        (FailureClass.POISON, 1, 2, None, Action.FAIL, None),
    ],
)
def test_what_follows_a_failure(
    failure: FailureClass,
    attempt: int,
    deaths: int,
    seen_at: float | None,
    action: Action,
    not_before: float | None,
) -> None:
    error = ErrorInfo("truncated_image", failure, "x")
    decision = decide(error, job(attempt, deaths), POLICY, 100.0, seen_at, 0.0)
    assert decision.action is action
    assert not_before is None or decision.not_before == not_before


def test_what_cannot_be_half_of_a_file_fails_at_once() -> None:
    error = ErrorInfo("image_too_large", FailureClass.BAD_INPUT, "x")
    assert decide(error, job(1, 0), POLICY, 100.0, 99.0, 0.0).action is Action.FAIL


def test_pauses_are_drawn_out_by_chance_and_by_no_more_than_a_quarter() -> None:
    error = ErrorInfo("x", FailureClass.TRANSIENT, "x")
    moments = [decide(error, job(2, 0), POLICY, 100.0, None, jitter).not_before for jitter in (0.0, 0.5, 1.0)]
    assert moments == [110.0, 111.25, 112.5]


# --- a hanging worker ----------------------------------------------------------------------------


def test_a_worker_hangs_after_ten_times_its_usual_silence() -> None:
    pulse = Heartbeat(hang_seconds=10, load_seconds=100)
    pulse.begin("a model", 0)
    assert pulse.loading
    assert pulse.too_long(100) is None
    assert pulse.too_long(101) == 101
    pulse.beat(50, loading=True)
    assert pulse.loading
    assert pulse.too_long(149) is None
    pulse.beat(60, loading=False)
    assert not pulse.loading
    assert pulse.too_long(69) is None
    assert pulse.too_long(71) == 11
    for moment in range(65, 120, 5):  # it speaks every 5 s
        pulse.beat(moment, loading=False)
    assert pulse.too_long(115 + 49) is None
    assert pulse.too_long(115 + 51) == 51
    pulse.begin("another", 200)
    pulse.beat(201, loading=False)
    assert pulse.too_long(212) == 11  # what is usual of one model says nothing of another


def test_a_worker_that_only_says_that_it_lives_is_stuck() -> None:
    pulse = Heartbeat(hang_seconds=10, load_seconds=100)
    pulse.begin("a model", 0)
    assert not pulse.is_stuck(50, 0, patience=10)  # it loads
    pulse.beat(60, loading=False)
    pulse.beat(65, loading=False, moved=False)
    pulse.beat(69, loading=False, moved=False)
    assert pulse.too_long(70) is None
    assert not pulse.is_stuck(70, 0, patience=10)
    assert pulse.is_stuck(76, 0, patience=10)
    assert not pulse.is_stuck(76, 70, patience=10)  # it was asked to leave only then
    pulse.beat(76, loading=False)
    assert not pulse.is_stuck(80, 0, patience=10)


# --- batching ------------------------------------------------------------------------------------

BATCHES = BatchPolicy({Kind.SCORE: 3, Kind.GENERATE: 2}, fairness_seconds=60.0)


def ids(jobs: tuple[Job, ...]) -> list[int]:
    return [j.id for j in jobs]


def test_a_batch_is_as_large_as_its_kind_allows_oldest_first() -> None:
    assert ids(pick_batch([job(job_id=number) for number in (1, 3, 5, 6)], BATCHES)) == [1, 3, 5]
    assert pick_batch([], BATCHES) == ()


def test_a_job_that_killed_a_worker_goes_alone() -> None:
    waiting = [job(job_id=1), job(job_id=2, deaths=1), job(job_id=3)]
    assert ids(pick_batch(waiting, BATCHES)) == [1, 3]
    assert ids(pick_batch(waiting[1:], BATCHES)) == [2]


# --- naming --------------------------------------------------------------------------------------


def test_names() -> None:
    assert naming.generated_stem("inbox/generate/cats.txt", 7, None) == "cats-s7"
    assert naming.generated_stem("inbox/generate/cats.txt", 7, 3) == "cats-L3-s7"
    assert naming.upscaled_stem("keep/cat.png", 4) == "cat_4x"
    assert naming.mirrored("inbox/score/a/b/c.png", "c.png", "keep") == "keep/a/b/c.png"
    assert naming.mirrored("inbox/score/c.png", "c.png", "keep") == "keep/c.png"
    assert naming.numbered("keep/c.png", 0) == "keep/c.png"
    assert naming.numbered("keep/c.png", 2) == "keep/c-2.png"
    assert naming.sidecar("failed/c.png") == "failed/c.png.error.json"


@given(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=255))
def test_no_name_becomes_too_long_for_the_file_system(name: str) -> None:
    stem = naming.generated_stem(f"inbox/generate/{name}", 2**32 - 1, 10_000)
    for made in (f"{stem}.png", naming.numbered(f"keep/{name}x", 123), naming.sidecar(f"failed/{name}x")):
        assert len(made.rpartition("/")[2].encode()) <= 255


def test_a_name_that_is_no_text_is_shortened_like_any_other() -> None:
    assert naming.upscaled_stem("caf\udce9.png", 4) == "caf\udce9_4x"
    long = naming.upscaled_stem("\udce9" * 300 + ".png", 1.5)
    assert len(os.fsencode(long + ".webp")) <= 255
    assert long.endswith("_1.5x")
    assert "\udcc3" not in naming.upscaled_stem("é" * 300 + ".png", 4)
    assert naming.regressed("upscaled/a_4x.png") == "upscaled/a_4x.regressed.png"


def test_why_no_other_seed_is_tried() -> None:
    gate = Gate(keep=6.5, upscale=7.0, regenerate_below=5.0, max_attempts=3, max_seconds=60)

    def decided(score: float, tries: int, waited: float = 0.0, gate: Gate = gate) -> tuple[bool, str | None]:
        decision = judge(score, Role.GENERATED, tries, gate, waited)
        return decision.regenerate, decision.stopped

    assert decided(4.0, 1) == (True, None)
    assert decided(4.0, 3) == (False, "3 tries are as many as gate.max_attempts allows")
    assert decided(4.0, 2, 60) == (False, "the 60 s of gate.max_seconds were over after 2 tries")
    assert decided(4.0, 2, 59.9) == (True, None)
    assert decided(5.0, 2) == (False, "try 2 was not below gate.regenerate_below")
    assert decided(5.0, 1) == (False, None)
    once = Gate(keep=6.5, upscale=7.0, regenerate_below=5.0, max_attempts=1)
    assert decided(4.0, 1, gate=once) == (False, None)


def test_the_best_of_equal_ones_are_the_first() -> None:
    assert best([(3, 5.0), (1, 7.0), (2, 5.0)], 2) == {1, 2}
    assert best([(1, 2.0)], 5) == {1}
    assert best([], 1) == frozenset()


def test_prompts_of_other_shapes_wait_for_their_own_batch() -> None:
    def job(number: int, **params: object) -> Job:
        spec = unsaid({"prompt": "x", "seed": number, **params})
        return Job(number, Kind.GENERATE, 1, "p.txt", None, "m", 0, 0, 0.0, GenerateParams(spec))

    policy = BatchPolicy({Kind.GENERATE: 3}, 60)
    waiting = [job(1), job(2, width=64), job(3), job(4, lora=[["a", 1.0]]), job(5, negative_prompt=""), job(6)]
    assert [each.id for each in pick_batch(waiting, policy)] == [1, 3, 5]
    assert [each.id for each in pick_batch(waiting[1:2] + waiting[3:4], policy)] == [2]
