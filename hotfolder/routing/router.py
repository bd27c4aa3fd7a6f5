"""From what has happened to the transition that it leads to, and which job comes next. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from hotfolder.core import naming
from hotfolder.core.best_of import choose
from hotfolder.core.gate import has_regressed, judge, next_seed
from hotfolder.core.prompts import images_of
from hotfolder.core.routing_policy import RoutingPolicy
from hotfolder.errors import EnlargedTooLarge
from hotfolder.folders.layout import ARCHIVE, FAILED, KEEP, REJECT, UNSCORED, UPSCALED
from hotfolder.routing import reports
from hotfolder.transitions import (
    Chosen,
    Duplicate,
    Failed,
    Generated,
    Move,
    NewImage,
    NotEnlarged,
    Scored,
    Upscaled,
)
from hotfolder.types import (
    Drop,
    ErrorInfo,
    FileIdentity,
    GenerateParams,
    ImageRole,
    Job,
    Judge,
    Kind,
    NewJob,
    Outcome,
    PromptSpec,
    Purpose,
    Role,
    ScoreParams,
    StoredImage,
    UpscaleParams,
    Verdict,
)

FOLDER_OF = {Verdict.KEEP: KEEP, Verdict.REJECT: REJECT}
_MEASURE = ScoreParams(Purpose.MEASURE)


@dataclass(frozen=True, slots=True)
class About:
    """What is known of the job that an outcome is of."""

    image: StoredImage | None  # the row of the image that it works on, if that has one
    drop: Drop | None  # the dropped file that it works on, if it does
    parent_score: float | None = None  # what the same scorer said of the image that this one was enlarged from


@dataclass(frozen=True, slots=True)
class SetMember:
    """A judged image of a set, and how it was generated."""

    image: StoredImage
    generated: GenerateParams


class Router:
    """What follows from what. `policy_of` knows what holds for a dropped file, by its path."""

    def __init__(self, policy_of: Callable[[str], RoutingPolicy]) -> None:
        self._policy_of = policy_of

    def image_job(self, kind: Kind, path: str) -> NewJob:
        """The job of an image that was dropped to be judged, or to be enlarged."""
        policy = self._policy_of(path)
        params = policy.upscaling if kind is Kind.UPSCALE else ScoreParams()
        return NewJob(kind, policy.models[kind], params, source=path, priority=policy.priority)

    def prompt_jobs(self, path: str, specs: Sequence[PromptSpec]) -> list[NewJob]:
        """The jobs of a prompt file: one for each image. Those of which the best are kept have a set in common."""
        policy = self._policy_of(path)
        default = policy.models[Kind.GENERATE]
        jobs = []
        for number, spec in enumerate(specs):
            of_set = None if spec.best_of is None and spec.until_kept is None else number
            priority = policy.priority if spec.priority is None else spec.priority
            jobs += [
                NewJob(Kind.GENERATE, spec.model or default, GenerateParams(image, of_set), priority=priority)
                for image in images_of(spec)
            ]
        return jobs

    def generated(self, job: Job, outcome: Outcome, staged: str) -> Generated:
        """`staged` is the path of the staged file, relative to the root."""
        assert outcome.staged is not None and isinstance(job.params, GenerateParams)
        made, asked = outcome.staged, job.params.request
        stem = naming.generated_stem(job.source_file, asked.seed, asked.line)
        wanted = naming.mirrored(job.source_file, stem + PurePosixPath(staged).suffix, UNSCORED)
        template = {"template": asked.template} if asked.template else {}
        scorer = self._policy_of(job.source_file).models[Kind.SCORE]
        return Generated(
            drop_id=job.drop_id,
            source_file=job.source_file,
            job_id=job.id,
            new_image=NewImage(
                Role.GENERATED, made.sha256, made.width, made.height,
                prompt=asked.prompt, negative_prompt=asked.negative_prompt or None, seed=asked.seed, model=job.model,
                settings={**made.settings, **template},
            ),
            image=Move(staged, wanted),
            next_jobs=(
                NewJob(
                    Kind.SCORE, scorer, ScoreParams(generated=job.params), about=ImageRole.IMAGE,
                    try_number=job.try_number,
                ),
            ),
        )  # fmt: skip

    def scored(self, job: Job, outcome: Outcome, about: About, now: float) -> Scored:
        assert outcome.score is not None and outcome.source is not None and job.source is not None
        assert isinstance(job.params, ScoreParams)
        image, found, policy = about.image, outcome.source, self._policy_of(job.source_file)
        role = image.role if image else Role.DROPPED
        new = None if image else NewImage(role, found.sha256, found.width, found.height, settings=_notes(outcome))
        measured = Scored(
            drop_id=job.drop_id,
            source_file=job.source_file,
            job_id=job.id,
            sha256=found.sha256,
            score=outcome.score,
            parts=outcome.parts,
            embeddings=outcome.embeddings,
            image_id=image.id if image else None,
            new_image=new,
        )
        if job.params.purpose is Purpose.MEASURE:
            if role is not Role.UPSCALED or not has_regressed(
                outcome.score.value, about.parent_score, policy.min_gain
            ):
                return measured
            if image is not None and image.judge is Judge.PERSON:
                return measured
            # It stays beside the others under a name that says so, and nothing else happens to it.
            aside = Move(job.source, naming.regressed(job.source))
            return replace(measured, verdict=Verdict.REJECT, image=aside)
        generated = job.params.generated
        until = generated.request.until_kept if generated is not None else None
        if job.set_number is not None:
            return measured  # what becomes of it is decided when all of its set are judged
        first_judged_at = generated.first_judged_at if generated and generated.first_judged_at is not None else now
        decision = judge(outcome.score.value, role, job.try_number, policy.gate, now - first_judged_at)
        verdict = decision.verdict or Verdict.REJECT
        wanted = naming.mirrored(job.source_file, PurePosixPath(job.source).name, FOLDER_OF[verdict])
        kept = decision.verdict is Verdict.KEEP
        next_jobs = _enlarging(generated, policy, kept=kept, good=decision.upscale)
        # Of seeds until so many are kept, the next ones are begun by daemon/runs.py.
        stopped = decision.stopped if until is None else None
        if decision.regenerate and until is None and generated is not None and not generated.request.exact:
            # Whoever wants the same again (`exact`) wants no other seed.
            seed = next_seed(generated.request.seed, job.try_number + 1)
            again = replace(
                generated, request=replace(generated.request, seed=seed), first_judged_at=first_judged_at
            )
            model = again.request.model or policy.models[Kind.GENERATE]
            next_jobs = (*next_jobs, NewJob(Kind.GENERATE, model, again, try_number=job.try_number + 1))
        return replace(
            measured,
            verdict=decision.verdict,
            gate_keep=policy.gate.keep,
            settings=_tries(job, stopped),
            image=Move(job.source, wanted, _identity(about.drop)),
            is_drop=image is None,
            next_jobs=next_jobs,
        )

    def seeds(self, source_file: str, generated: GenerateParams, last_seed: int, more: int) -> list[NewJob]:
        """So many more seeds of a prompt, after the last one; their place in the queue is that of the others."""
        request = generated.request
        model = request.model or self._policy_of(source_file).models[Kind.GENERATE]
        return [
            NewJob(Kind.GENERATE, model, replace(generated, request=replace(request, seed=seed)))
            for seed in range(last_seed + 1, last_seed + 1 + more)
        ]

    def enlarging(self, image: StoredImage, scale: float | None, format_: str | None, model: str | None) -> NewJob:
        """The job of a result that a person wants to have enlarged; None leaves it to the settings."""
        policy = self._policy_of(image.source_file or image.path)
        usual = policy.upscaling
        params = UpscaleParams(usual.scale if scale is None else scale, format_ or usual.format)
        return NewJob(Kind.UPSCALE, model or policy.models[Kind.UPSCALE], params, about=ImageRole.IMAGE)

    def upscaled(self, job: Job, outcome: Outcome, about: About, staged: str) -> Upscaled:
        """`staged` is the path of the staged file, relative to the root."""
        assert outcome.staged is not None and outcome.source is not None and job.source is not None
        made, image = outcome.staged, about.image
        name = naming.upscaled_stem(job.source, made.settings["scale"]) + PurePosixPath(staged).suffix
        new = NewImage(
            Role.UPSCALED, made.sha256, made.width, made.height, model=job.model,
            settings={**made.settings, **_notes(outcome)},
            parent_id=image.id if image else None, prompt=image.prompt if image else None,
            negative_prompt=image.negative_prompt if image else None, seed=image.seed if image else None,
        )  # fmt: skip
        scorer = self._policy_of(job.source_file).models[Kind.SCORE]
        measure = NewJob(Kind.SCORE, scorer, _MEASURE, about=ImageRole.IMAGE)
        enlarged = Upscaled(
            drop_id=job.drop_id,
            source_file=job.source_file,
            job_id=job.id,
            new_image=new,
            image=Move(staged, naming.mirrored(job.source_file, name, UPSCALED)),
            next_jobs=(measure,),
        )
        if image is not None:
            return enlarged
        # Dropped to be enlarged: the original goes to the archive, and is scored too, so that there is a gain.
        archived = naming.mirrored(job.source_file, PurePosixPath(job.source).name, ARCHIVE)
        found = outcome.source
        return replace(
            enlarged,
            new_original=NewImage(Role.DROPPED, found.sha256, found.width, found.height),
            original=Move(job.source, archived, _identity(about.drop)),
            next_jobs=(replace(measure, about=ImageRole.ORIGINAL), measure),
        )

    def duplicate(
        self, transition: Scored | Upscaled | Generated, twin: str, image_id: int | None = None
    ) -> Duplicate:
        """What comes instead when the very picture lies at `twin` already.

        `image_id`: the twin's row, where its verdict counts for the run that the job is of.
        """
        original = transition.image if isinstance(transition, Scored) else None
        if isinstance(transition, Upscaled):
            original = transition.original
        if isinstance(transition, Scored) and original is not None:
            original = replace(original, dst=f"{ARCHIVE}/{original.dst.partition('/')[2]}")
        return Duplicate(
            drop_id=transition.drop_id,
            source_file=transition.source_file,
            job_id=transition.job_id,
            note=reports.duplicate(twin),
            image_id=image_id,
            original=original,
        )

    def failed(self, job: Job, error: ErrorInfo, about: About, now: float) -> Failed | NotEnlarged:
        """What a final failure leads to; none at all for an image of ours that is large enough as it is.

        A dropped image goes to failed/, and so does a generated one that could not be scored. An image that was
        published already stays where it is; a prompt file is placed when all of its jobs have ended.
        """
        if error.kind == EnlargedTooLarge.kind and about.image is not None:
            note = replace(error, message=f"it is not enlarged: {error.message}")
            return NotEnlarged(
                drop_id=job.drop_id, source_file=job.source_file, job_id=job.id, image_id=about.image.id, note=note
            )
        base = Failed(drop_id=job.drop_id, source_file=job.source_file, job_id=job.id, error=error)
        if job.source is None:
            return base
        wanted = naming.mirrored(job.source_file, PurePosixPath(job.source).name, FAILED)
        report = reports.of_failures(wanted, job.source_file, [reports.failed_job(job, error)], now)
        moved = replace(base, report=report, image=Move(job.source, wanted, _identity(about.drop)))
        if about.image is None:
            return replace(moved, is_drop=True)
        if job.source.startswith(UNSCORED):
            return replace(moved, image_id=about.image.id)
        return replace(base, report=report)

    def chosen(
        self, members: Sequence[SetMember], already_kept: int, *, is_cancelled: bool = False
    ) -> list[Chosen]:
        """Where the images of a set go, all of which are judged; of it so many were kept already.

        `is_cancelled`: a person wants nothing more to be begun.
        """
        source_file = members[0].image.source_file or ""
        policy = self._policy_of(source_file)
        places = (members[0].generated.request.keep or 1) - already_kept
        scores = [(member.image.id, member.image.score or 0.0) for member in members]
        choices = choose(scores, places, policy.gate, rest_through_gate=policy.rest_through_gate)
        found = []
        for member in members:
            image, choice = member.image, choices[member.image.id]
            wanted = naming.mirrored(source_file, PurePosixPath(image.path).name, FOLDER_OF[choice.verdict])
            kept = choice.verdict is Verdict.KEEP
            found.append(
                Chosen(
                    drop_id=image.drop_id or 0,
                    source_file=source_file,
                    image_id=image.id,
                    verdict=choice.verdict,
                    gate_keep=policy.gate.keep,
                    image=Move(image.path, wanted),
                    next_jobs=()
                    if is_cancelled
                    else _enlarging(member.generated, policy, kept=kept, good=choice.upscale),
                )
            )
        return found


def _enlarging(
    generated: GenerateParams | None, policy: RoutingPolicy, *, kept: bool, good: bool
) -> tuple[NewJob, ...]:
    """The job that enlarges a kept image, where its prompt asks for that, or leaves it to the gate (`good`)."""
    asked = generated.request.upscale if generated else None
    if not kept or asked is False or (asked is None and not good):
        return ()
    params = policy.upscaling
    if asked is not None and asked is not True:
        params = UpscaleParams(float(asked), params.format)
    return (NewJob(Kind.UPSCALE, policy.models[Kind.UPSCALE], params, about=ImageRole.IMAGE),)


def _notes(outcome: Outcome) -> dict[str, Any]:
    """What the image's row says of its picture, where there is something to say."""
    return {"notes": list(outcome.notes)} if outcome.notes else {}


def _tries(job: Job, stopped: str | None) -> dict[str, object]:
    """What a generated image's row says of the tries of its prompt, where there was more than one."""
    if stopped is None and job.try_number == 1:
        return {}
    return {"try": job.try_number, **({"stopped": stopped} if stopped else {})}


def _identity(drop: Drop | None) -> FileIdentity | None:
    return drop.sighting.identity if drop else None
