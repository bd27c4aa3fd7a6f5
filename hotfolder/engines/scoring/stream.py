"""The way of pictures through a scorer ensemble: decoded ahead in a pool, judged in micro-batches, told one by one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

from PIL import Image

from hotfolder.core.prompts.metadata import prompt_in
from hotfolder.core.prompts.tags import words_of
from hotfolder.engines.scoring.ensemble import Judgement, ScorerEnsemble, Started
from hotfolder.engines.scoring.looks import Look, packed
from hotfolder.engines.sources import opener
from hotfolder.errors import BadInput, HotfolderError
from hotfolder.imaging.decode import OWN_PIXELS, open_image
from hotfolder.imaging.metadata import read_generation
from hotfolder.imaging.modes import to_rgb
from hotfolder.imaging.source import read
from hotfolder.similarity import layout
from hotfolder.types import Embedding, Item, Outcome, Remembered, RunnerSettings, SourceFacts

#: Decoded pixels that may be held at one time, over all threads: 4 bytes each. A larger image goes alone.
_HELD_PIXELS = 128_000_000

#: Fewer looks than this are not sent to a device before there are as many as suit it.
_WORTH_IT = 8

R = TypeVar("R")
Emit = Callable[[Outcome], None]
Fail = Callable[[Item, Exception], None]
Seen = tuple[SourceFacts, Look]


class Memory(Protocol):
    """Knows what was judged before."""

    def recall(self, sha256: str) -> Remembered | None: ...


class PixelBudget:
    """Bounds the decoded pixels in memory, however many threads decode and however large the images are."""

    def __init__(self, most: int = _HELD_PIXELS) -> None:
        self._most = most
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Waits until there is room, or until nobody else holds any."""
        with self._changed:
            self._changed.wait_for(lambda: self._held == 0 or self._held + pixels <= self._most)
            self._held += pixels
        try:
            yield
        finally:
            with self._changed:
                self._held -= pixels
                self._changed.notify_all()


class Looker:
    """Reads files and prepares what the ensemble has to see of them; called from several threads."""

    def __init__(self, ensemble: ScorerEnsemble, settings: RunnerSettings, memory: Memory | None) -> None:
        self._ensemble = ensemble
        self._settings = settings
        self._memory = memory
        self._budget = PixelBudget()

    def __call__(self, item: Item) -> Seen:
        """Raises what decoding raises. `sha256` among the item's parameters: the content that is to be judged."""
        wanted, precise = item.params.get("sha256"), item.precise
        if wanted is not None and (known := self._recall(wanted)):
            prompt = self._prompt_of(item, known)
            if not self._ensemble.missing(known, precise, prompt):
                look = self._ensemble.look(None, known, precise, prompt)
                if item.params.get("layout") and not _has_layout(known):
                    look = replace(look, made=self._layout_alone(item, wanted))
                return self._noting(SourceFacts(wanted, known.width, known.height), prompt), look
        named = bool(item.params.get("named"))
        source = read(Path(item.source or ""), self._settings.max_file_bytes, opener(item))
        if wanted not in (None, source.sha256):
            raise BadInput(f"{source.name} is not what it was when it was recorded", "drop it anew")
        known = self._recall(source.sha256)
        prompt = self._prompt_of(item, known)
        if known is not None and not self._ensemble.missing(known, precise, prompt):
            facts = SourceFacts(source.sha256, known.width, known.height)
            return self._noting(facts, prompt), self._ensemble.look(None, known, precise, prompt)
        # What we enlarged ourselves may be larger than what we take from others.
        limit = self._settings.max_pixels * (OWN_PIXELS if item.params.get("measure") else 1)
        opened = open_image(source, limit, ours_too=named)
        with self._budget.hold(opened.pixels):
            decoded = opened.decode()
            rgb = to_rgb(decoded.image, self._settings.background)
            look = self._ensemble.look(rgb, known, precise, prompt)
            facts = self._noting(decoded.facts, prompt)
            return facts, look if _has_layout(known) else replace(look, made=_layout(rgb))

    def _prompt_of(self, item: Item, known: Remembered | None) -> str | None:
        """What a picture was to show, in words: as the job says, or the database, or else the file itself."""
        if not self._ensemble.reads_prompts:
            return None
        said = item.params.get("prompt") or (known.prompt if known is not None else None)
        if not said and item.source is not None:
            path = Path(item.source)
            with suppress(BadInput, OSError):  # whatever is the matter with it is told when it is decoded
                said = prompt_in(path.name, read_generation(path, opener(item)))
        return words_of(said) if said else None

    def _noting(self, facts: SourceFacts, prompt: str | None) -> SourceFacts:
        """With a sentence about the scorers that say nothing of the picture."""
        silent = self._ensemble.silent(prompt)
        if not silent:
            return facts
        note = f"it has no score by {' and '.join(silent)}: no prompt of it is known"
        return replace(facts, notes=(*facts.notes, note))

    def _layout_alone(self, item: Item, sha256: str) -> tuple[Embedding, ...]:
        """Of a picture about which all else is known; none where its file is not there any more, or cannot be read."""
        try:
            source = read(Path(item.source or ""), self._settings.max_file_bytes, opener(item))
            if source.sha256 != sha256:
                return ()
            opened = open_image(source, self._settings.max_pixels * OWN_PIXELS)
            with self._budget.hold(opened.pixels):
                return _layout(to_rgb(opened.decode().image, self._settings.background))
        except (HotfolderError, OSError):
            return ()

    def _recall(self, sha256: str) -> Remembered | None:
        return self._memory.recall(sha256) if self._memory is not None else None


def _has_layout(known: Remembered | None) -> bool:
    return known is not None and any(each.encoder == layout.ENCODER for each in known.embeddings)


def _layout(image: Image.Image) -> tuple[Embedding, ...]:
    return (Embedding(layout.ENCODER, packed(layout.layout_of(image))),)


def ahead(
    items: Sequence[Item], work: Callable[[Item], R], pool: ThreadPoolExecutor, window: Callable[[], int]
) -> Iterator[tuple[Item, Future[R]]]:
    """Items in order with their work under way in `pool`, never more than `window()` of it unclaimed."""
    under_way: deque[tuple[Item, Future[R]]] = deque()
    rest = iter(items)
    try:
        while True:
            while len(under_way) < max(1, window()) and (item := next(rest, None)) is not None:
                under_way.append((item, pool.submit(work, item)))
            if not under_way:
                return
            yield under_way.popleft()
    finally:
        for _, future in under_way:
            future.cancel()


def judge_all(
    ensemble: ScorerEnsemble,
    items: Sequence[Item],
    look: Callable[[Item], Seen],
    pool: ThreadPoolExecutor,
    emit: Emit,
    fail: Fail,
    should_stop: Callable[[], bool] = lambda: False,
    is_cancelled: Callable[[int], bool] = lambda job_id: False,
) -> None:
    """Judges everything; a picture that fails fails alone.

    What is cancelled, and what a stop comes before, gets no outcome.
    """
    waiting: list[tuple[Item, SourceFacts, Look]] = []
    before: _Batch | None = None

    def flush() -> None:
        nonlocal before
        # The device begins the next batch before the last one's scores are fetched from it.
        after = _begin(ensemble, tuple(waiting), fail) if waiting else None
        waiting.clear()
        if before is not None:
            _end(ensemble, before, emit, fail)
        before = after

    # Enough for the next micro-batch while the device works on this one.
    for item, future in ahead(items, look, pool, lambda: pool._max_workers + 2 * ensemble.batch_size):
        if should_stop():
            break
        if is_cancelled(item.job_id):
            continue
        if ensemble.is_ahead and len(waiting) >= _WORTH_IT and not future.done():
            flush()  # rather than let the device wait for the picture that is decoded
        try:
            waiting.append((item, *future.result()))
        except Exception as error:  # noqa: BLE001 - the edge around one job
            fail(item, error)
        if len(waiting) >= ensemble.batch_size:
            flush()
    flush()
    flush()


_Batch = tuple[tuple[tuple[Item, SourceFacts, Look], ...], Started]


def _begin(
    ensemble: ScorerEnsemble, batch: tuple[tuple[Item, SourceFacts, Look], ...], fail: Fail
) -> _Batch | None:
    try:
        return batch, ensemble.start([look for _, _, look in batch])
    except Exception as error:  # noqa: BLE001 - as above
        for item, _, _ in batch:
            fail(item, error)
        return None


def _end(ensemble: ScorerEnsemble, batch: _Batch, emit: Emit, fail: Fail) -> None:
    entries, started = batch
    try:
        judgements = ensemble.finish(started)
    except Exception as error:  # noqa: BLE001 - as above
        for item, _, _ in entries:
            fail(item, error)
        return
    for (item, facts, look), judgement in zip(entries, judgements, strict=True):
        if not isinstance(judgement, Judgement):
            fail(item, judgement)
            continue
        emit(
            Outcome(
                item.job_id, item.claim, score=judgement.score, parts=judgement.parts,
                embeddings=(*judgement.embeddings, *look.made), source=facts,
            )
        )  # fmt: skip
