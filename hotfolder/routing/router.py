"""The line: from the outcome of one job to what has to be published, and which job comes next. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from hotfolder.core import naming
from hotfolder.core.gate import judge, next_seed
from hotfolder.core.prompts import images_of
from hotfolder.core.routing_policy import RoutingPolicy
from hotfolder.folders.layout import ARCHIVE, FAILED, KEEP, REJECT, UNSCORED, UPSCALED
from hotfolder.types import (
    Drop,
    ErrorInfo,
    ImageRecord,
    Job,
    Kind,
    NewJob,
    Outcome,
    Placement,
    PromptSpec,
    Publication,
    Role,
    Sighting,
    SourceFacts,
    Staged,
    State,
    Verdict,
)

#: A score job with this parameter only measures: it moves nothing and decides nothing.
MEASURE: Mapping[str, Any] = {"measure": True}
_VERDICT_FOLDER = {Verdict.KEEP: KEEP, Verdict.REJECT: REJECT}


class Router:
    """What follows from what. `course_of` knows what holds for a dropped file, by its path."""

    def __init__(self, policy_of: Callable[[str], RoutingPolicy]) -> None:
        self._policy_of = policy_of

    def first_jobs(self, kind: Kind, path: str) -> list[NewJob]:
        """The job of an image that was dropped."""
        policy = self._policy_of(path)
        params = policy.upscaling if kind is Kind.UPSCALE else {}
        return [NewJob(kind, policy.models[kind], source=path, params=params)]

    def prompt_jobs(self, path: str, specs: Sequence[PromptSpec]) -> list[NewJob]:
        """The jobs of a prompt file: one for each image. Those of which the best are kept have the same `set`."""
        default = self._policy_of(path).models[Kind.GENERATE]
        jobs = []
        for number, spec in enumerate(specs):
            of_set = {} if spec.best_of is None else {"set": number}
            jobs += [
                NewJob(Kind.GENERATE, spec.model or default, params={**params, **of_set})
                for params in images_of(spec)
            ]
        return jobs

    def after(
        self,
        job: Job,
        outcome: Outcome,
        image: Mapping[str, Any] | None,
        staged: str | None,
        inode: int,
        parent_score: float | None = None,
        now: float = 0.0,
    ) -> Publication:
        """What a successful outcome leads to.

        `image` is the row of the image that the job works on, if it has one; `staged` the path of the staged
        file relative to the root; `inode` that of the dropped file that the job works on, else 0; `parent_score`
        what the same scorer said of the image that this one was enlarged from.
        """
        if outcome.score is not None and outcome.source is not None:
            return self._scored(job, outcome, outcome.source, image, inode, parent_score, now)
        assert outcome.staged is not None and staged is not None
        if job.kind is Kind.GENERATE:
            return self._generated(job, outcome.staged, staged)
        assert outcome.source is not None
        return self._upscaled(job, outcome.staged, outcome.source, image, staged, inode)

    def _generated(self, job: Job, made: Staged, staged: str) -> Publication:
        params = job.params
        stem = naming.generated_stem(job.source_file, params["seed"], params.get("line"))
        name = stem + PurePosixPath(staged).suffix
        image = ImageRecord(
            path="",
            role=Role.GENERATED,
            sha256=made.sha256,
            width=made.width,
            height=made.height,
            prompt=params["prompt"],
            negative_prompt=params.get("negative_prompt") or None,
            seed=params["seed"],
            model=job.model,
            settings={**made.settings, "template": params["template"]}
            if params.get("template")
            else made.settings,
        )
        return Publication(
            drop_id=job.drop_id,
            source_file=job.source_file,
            job_id=job.id,
            state=State.DONE,
            image=image,
            image_move=0,
            placements=(Placement(staged, naming.mirrored(job.source_file, name, UNSCORED), 0),),
            followups=(
                NewJob(
                    Kind.SCORE, self._policy_of(job.source_file).models[Kind.SCORE], about="image", params=params,
                    try_number=job.try_number,
                ),
            ),
        )  # fmt: skip

    def _scored(
        self,
        job: Job,
        outcome: Outcome,
        source: SourceFacts,
        row: Mapping[str, Any] | None,
        inode: int,
        parent_score: float | None,
        now: float,
    ) -> Publication:
        assert outcome.score is not None and job.source is not None
        policy = self._policy_of(job.source_file)
        base = Publication(
            drop_id=job.drop_id,
            source_file=job.source_file,
            job_id=job.id,
            state=State.DONE,
            score=outcome.score,
            parts=outcome.parts,
            embeddings=outcome.embeddings,
        )
        role = Role(row["role"]) if row else Role.DROPPED
        image = ImageRecord(
            path=job.source,
            role=role,
            sha256=source.sha256,
            width=source.width,
            height=source.height,
            id=row["id"] if row else None,
        )
        if job.params.get("measure"):
            if not _has_regressed(role, outcome.score.value, parent_score, policy.min_gain):
                return replace(base, image=image)
            # It stays beside the others under a name that says so, and nothing else happens to it.
            return replace(
                base,
                image=replace(image, verdict=Verdict.REJECT),
                image_move=0,
                placements=(Placement(job.source, naming.regressed(job.source), 0),),
            )
        if "set" in job.params:  # what becomes of it is decided when all of its set are judged
            return replace(base, image=image)
        since = job.params.get("since", now)
        decision = judge(outcome.score.value, role, job.try_number, policy.gate, now - since)
        folder = _VERDICT_FOLDER[decision.verdict or Verdict.REJECT]
        wanted = naming.mirrored(job.source_file, PurePosixPath(job.source).name, folder)
        followups = _enlarging(job.params, policy, kept=decision.verdict is Verdict.KEEP, good=decision.upscale)
        if decision.regenerate and not job.params.get("exact"):  # whoever wants the same again wants no other
            seed = next_seed(job.params["seed"], job.try_number + 1)
            again = {**job.params, "seed": seed, "since": since}
            model = again.get("model") or policy.models[Kind.GENERATE]
            followups.append(NewJob(Kind.GENERATE, model, params=again, try_number=job.try_number + 1))
        return replace(
            base,
            image=replace(image, verdict=decision.verdict, settings=_tries(job, decision.stopped)),
            image_move=0,
            placements=(Placement(job.source, wanted, inode),),
            followups=tuple(followups),
            drop_placed=row is None,
        )

    def chosen(self, row: Mapping[str, Any], params: Mapping[str, Any], *, is_best: bool) -> Publication:
        """Where an image goes all of whose set are judged; `row` is its own, `params` its job's."""
        policy = self._policy_of(row["source_file"])
        decision = judge(row["score"], Role.GENERATED, policy.gate.max_attempts, policy.gate)
        through = policy.rest_through_gate and decision.verdict is Verdict.KEEP
        verdict = Verdict.KEEP if is_best or through else Verdict.REJECT
        kept = verdict is Verdict.KEEP
        wanted = naming.mirrored(row["source_file"], PurePosixPath(row["path"]).name, _VERDICT_FOLDER[verdict])
        image = ImageRecord(
            row["path"], Role.GENERATED, row["sha256"], row["width"], row["height"], id=row["id"], verdict=verdict
        )
        return Publication(
            drop_id=row["drop_id"],
            source_file=row["source_file"],
            image=image,
            image_move=0,
            placements=(Placement(row["path"], wanted, 0),),
            followups=tuple(_enlarging(params, policy, kept=kept, good=row["score"] >= policy.gate.upscale)),
        )

    def _upscaled(
        self, job: Job, made: Staged, source: SourceFacts, row: Mapping[str, Any] | None, staged: str, inode: int
    ) -> Publication:
        assert job.source is not None
        name = naming.upscaled_stem(job.source, made.settings["scale"]) + PurePosixPath(staged).suffix
        image = ImageRecord(
            path="",
            role=Role.UPSCALED,
            sha256=made.sha256,
            width=made.width,
            height=made.height,
            model=job.model,
            settings=made.settings,
            **({key: row[key] for key in ("prompt", "negative_prompt", "seed")} if row else {}),
            parent_id=row["id"] if row else None,
        )
        scorer = self._policy_of(job.source_file).models[Kind.SCORE]
        measure = NewJob(Kind.SCORE, scorer, about="image", params=MEASURE)
        publication = Publication(
            drop_id=job.drop_id,
            source_file=job.source_file,
            job_id=job.id,
            state=State.DONE,
            image=image,
            image_move=0,
            placements=(Placement(staged, naming.mirrored(job.source_file, name, UPSCALED), 0),),
            followups=(measure,),
        )
        if row is not None:
            return publication
        # Dropped to be enlarged: the original goes to the archive, and is scored too, so that there is a gain.
        archived = naming.mirrored(job.source_file, PurePosixPath(job.source).name, ARCHIVE)
        parent = ImageRecord("", Role.DROPPED, source.sha256, source.width, source.height)
        return replace(
            publication,
            parent=parent,
            parent_move=1,
            placements=(*publication.placements, Placement(job.source, archived, inode)),
            followups=(replace(measure, about="parent"), measure),
            drop_placed=True,
        )

    def failed(
        self, job: Job, error: ErrorInfo, row: Mapping[str, Any] | None, inode: int, now: float
    ) -> Publication:
        """What a final failure leads to; `row` and `inode` are as in `after`.

        A dropped image goes to failed/, and so does a generated one that could not be scored. An image that was
        published already stays where it is; a prompt file is placed when all of its jobs have ended.
        """
        base = Publication(
            drop_id=job.drop_id,
            source_file=job.source_file,
            job_id=job.id,
            state=State.FAILED,
            error=error,
            sidecar=_sidecar(job.source_file, [_as_error(job, error)], now),
        )
        if job.source is None:
            return replace(base, sidecar=None)
        wanted = naming.mirrored(job.source_file, PurePosixPath(job.source).name, FAILED)
        moved = replace(base, placements=(Placement(job.source, wanted, inode),))
        if row is None:
            return replace(moved, drop_placed=True)
        if job.source.startswith(UNSCORED):
            role = Role(row["role"])
            image = ImageRecord(job.source, role, row["sha256"], row["width"], row["height"], id=row["id"])
            return replace(moved, image=image, image_move=0)
        return replace(base, sidecar_for=wanted)

    def retried_drop(
        self, drop: Drop, jobs: Sequence[Job], placed: str | None, there: Sighting | None
    ) -> Publication:
        """Failed jobs of a dropped file are to be tried again; `there` is the file where it was `placed`.

        It goes back into its inbox. If it was changed meanwhile, or was never understood, it is taken as a new one.
        """
        base = Publication(drop_id=drop.id, source_file=drop.sighting.path)
        ids = tuple(job.id for job in jobs)
        if placed is None:
            return replace(base, requeue=ids)  # others of its jobs go on: it lies in the inbox still
        as_it_was = there is not None and replace(there, path=drop.sighting.path) == drop.sighting
        again = as_it_was and all(job.params or job.source for job in jobs)
        return replace(
            base,
            placements=(Placement(placed, drop.sighting.path, there.inode if there else 0),),
            requeue=ids if again else (),
            supersede=() if again else ids,
            reopen=again,
            remove=placed,
        )

    def retried_image(self, job: Job, row: Mapping[str, Any] | None) -> Publication:
        """A failed job about an image that has a row is to be tried again: where the image is now."""
        assert row is not None and job.source is not None
        base = Publication(drop_id=job.drop_id, source_file=job.source_file, requeue=(job.id,))
        if not row["path"].startswith(f"{FAILED}/"):
            name = naming.mirrored(job.source_file, PurePosixPath(job.source).name, FAILED)
            return replace(base, remove=name)
        role = Role(row["role"])
        return replace(
            base,
            placements=(Placement(row["path"], job.source, 0),),
            image=ImageRecord(job.source, role, row["sha256"], row["width"], row["height"], id=row["id"]),
            image_move=0,
            remove=row["path"],
        )

    def rerouted(self, row: Mapping[str, Any], verdict: Verdict, reroute_id: int | None) -> Publication:
        """An image that was judged is to lie in the other folder; its sub-folder and name stay."""
        below = row["path"].partition("/")[2]
        image = ImageRecord(
            row["path"],
            Role(row["role"]),
            row["sha256"],
            row["width"],
            row["height"],
            id=row["id"],
            verdict=verdict,
        )
        return Publication(
            drop_id=row["drop_id"] or 0,
            source_file=row["source_file"] or row["path"],
            image=image,
            image_move=0,
            placements=(Placement(row["path"], f"{_VERDICT_FOLDER[verdict]}/{below}", 0),),
            reroute_id=reroute_id,
        )

    def finished(self, drop: Drop, failures: Sequence[Mapping[str, Any]], now: float) -> Publication:
        """A prompt file all of whose jobs have ended: to archive/, or to failed/ if not all went well."""
        path = drop.sighting.path
        folder = FAILED if failures else ARCHIVE
        wanted = naming.mirrored(path, PurePosixPath(path).name, folder)
        return Publication(
            drop_id=drop.id,
            source_file=path,
            placements=(Placement(path, wanted, drop.sighting.inode),),
            sidecar=_sidecar(path, failures, now) if failures else None,
            drop_placed=True,
        )


def _enlarging(params: Mapping[str, Any], policy: RoutingPolicy, *, kept: bool, good: bool) -> list[NewJob]:
    """The job that enlarges a kept image, where its prompt asks for that, or leaves it to the gate (`good`)."""
    asked = params.get("upscale")
    if not kept or asked is False or (asked is None and not good):
        return []
    scale = {} if asked is None or asked is True else {"scale": asked}
    return [NewJob(Kind.UPSCALE, policy.models[Kind.UPSCALE], about="image", params={**policy.upscaling, **scale})]


def _tries(job: Job, stopped: str | None) -> dict[str, Any]:
    """What a generated image's row says of the tries of its prompt, where there was more than one."""
    if stopped is None and job.try_number == 1:
        return {}
    return {"try": job.try_number, **({"stopped": stopped} if stopped else {})}


def _has_regressed(role: Role, score: float, parent_score: float | None, min_gain: float | None) -> bool:
    if role is not Role.UPSCALED or min_gain is None or parent_score is None:
        return False
    return score - parent_score < min_gain


def _as_error(job: Job, error: ErrorInfo) -> dict[str, Any]:
    return {
        "id": job.id, "kind": job.kind, "source": job.source, "attempt": job.attempt,
        "error_kind": error.kind, "error": error.message, "fix": error.fix,
    }  # fmt: skip


def _sidecar(source_file: str, failures: Sequence[Mapping[str, Any]], now: float) -> dict[str, Any]:
    """The content of <name>.error.json: the first failure at the top, all of them below."""
    first = failures[0]
    return {
        "schema_version": 1,
        "kind": first["error_kind"],
        "message": first["error"],
        "fix": first["fix"],
        "source_file": source_file,
        "failed_at": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        "jobs": [
            {
                "job_id": failure["id"], "kind": failure["kind"], "attempts": failure["attempt"],
                "error_kind": failure["error_kind"], "message": failure["error"], "fix": failure["fix"],
            }
            for failure in failures
        ],
    }  # fmt: skip
