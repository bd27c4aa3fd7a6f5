"""Scores by verdict, with the gate's threshold and the person's: as lines of text, and as a PNG."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hotfolder.files.beneath import Beneath
from hotfolder.files.signed_png import is_signed, signed
from hotfolder.taste.learning import Threshold
from hotfolder.taste.training import Trained

_STEP = 0.25
_BAR = 40
#: What such a picture says of itself, so that nothing else is replaced by one.
_SOFTWARE = "hotfolder taste"
_SIDE, _HEIGHT, _MARGIN, _FOOT = 960, 420, 48, 64
_PAPER, _INK, _FAINT, _KEPT, _REJECTED, _GATE, _OWN = (
    "#ffffff", "#1d1d1f", "#86868b", "#2e9e5b", "#d0605e", "#1d1d1f", "#2f6fde",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spread:
    """How scores lie by verdict: `edges` has one more than the counts."""

    inbox: str
    prior: str
    edges: tuple[float, ...]
    kept: tuple[int, ...]
    rejected: tuple[int, ...]
    keep: float
    own: Threshold | None

    @classmethod
    def of(cls, trained: Trained) -> Spread:
        evidence = trained.gathered.evidence
        places = {content: place for place, content in enumerate(evidence.contents)}
        scores = np.array([evidence.priors[places[label.content]] for label in evidence.labels])
        keep = np.array([label.keep for label in evidence.labels], bool)
        own = trained.learnt.threshold
        own = own if own is not None and own.is_line else None
        marks = [evidence.keep, *([own.at] if own else [])]
        low = np.floor(min([*scores.tolist(), *marks]) / _STEP) * _STEP
        high = np.floor(max([*scores.tolist(), *marks]) / _STEP + 1) * _STEP
        # An interval that knows nothing may be as wide as it likes: it is cut off at the edges.
        edges = np.arange(max(low, -20.0), min(high, 30.0) + _STEP / 2, _STEP)
        return cls(
            trained.gathered.subject.inbox,
            trained.gathered.subject.prior,
            tuple(edges.tolist()),
            tuple(np.histogram(scores[keep], edges)[0].tolist()),
            tuple(np.histogram(scores[~keep], edges)[0].tolist()),
            evidence.keep,
            own,
        )


def lines(spread: Spread) -> list[str]:
    """A line for each quarter of a point: kept as full blocks, rejected as light ones."""
    if not any(spread.kept) and not any(spread.rejected):
        return []
    most = max(k + r for k, r in zip(spread.kept, spread.rejected, strict=True))
    found = ["  score   kept █, rejected ░"]
    for first, last, kept, rejected in reversed(
        list(zip(spread.edges, spread.edges[1:], spread.kept, spread.rejected, strict=False))
    ):
        unit = min(1.0, _BAR / most)
        full = max(1, round(kept * unit)) if kept else 0
        light = max(1, round(rejected * unit)) if rejected else 0
        marks = []
        if first <= spread.keep < last:
            marks.append(f"gate {spread.keep:g}")
        if spread.own is not None and first <= spread.own.at < last:
            lowest, highest = spread.own.interval
            marks.append(f"you {spread.own.at:.2f} ({lowest:.2f} to {highest:.2f})")
        mark = f"  ◀ {', '.join(marks)}" if marks else ""
        found.append(f"  {first:5.2f}   {'█' * full}{'░' * light}{mark}".rstrip())
    return found


def is_drawn(path: Path) -> bool:
    """Whether a file is a picture that was drawn here."""
    return is_signed(path, _SOFTWARE)


def draw(spread: Spread, path: Path) -> None:
    """Writes a PNG, whole or not at all. Raises OSError."""
    image = Image.new("RGB", (_SIDE, _HEIGHT), _PAPER)
    pen = ImageDraw.Draw(image)
    font, small = ImageFont.load_default(18), ImageFont.load_default(14)
    low, high = spread.edges[0], spread.edges[-1]
    wide, tall = _SIDE - 2 * _MARGIN, _HEIGHT - _MARGIN - _FOOT

    def across(score: float) -> float:
        return _MARGIN + (min(max(score, low), high) - low) / (high - low) * wide

    bottom = _HEIGHT - _FOOT
    if spread.own is not None:
        lowest, highest = spread.own.interval
        pen.rectangle((across(lowest), _MARGIN, across(highest), bottom), fill="#e3ecfb")
    most = max(1, *(k + r for k, r in zip(spread.kept, spread.rejected, strict=True)))
    for first, kept, rejected in zip(spread.edges, spread.kept, spread.rejected, strict=False):
        left, right = across(first) + 1, across(first + _STEP) - 1
        floor = float(bottom)
        for count, colour in ((kept, _KEPT), (rejected, _REJECTED)):
            if count:
                pen.rectangle((left, floor - tall * count / most, max(left, right), floor), fill=colour)
                floor -= tall * count / most
    pen.line((_MARGIN, bottom, _SIDE - _MARGIN, bottom), fill=_FAINT)
    for score in range(int(np.ceil(low)), int(np.floor(high)) + 1):
        pen.text((across(score), bottom + 6), str(score), fill=_INK, font=small, anchor="mt")
    pen.line((across(spread.keep), _MARGIN - 6, across(spread.keep), bottom), fill=_GATE, width=3)
    told = f"inbox/{spread.inbox}, by {spread.prior}: the gate keeps from {spread.keep:g} (black)"
    if spread.own is not None:
        pen.line((across(spread.own.at), _MARGIN - 6, across(spread.own.at), bottom), fill=_OWN, width=3)
        told += f", you from {spread.own.at:.2f} (blue; 90 %: {lowest:.2f} to {highest:.2f})"
    pen.text((_MARGIN, 12), told, fill=_INK, font=font if len(told) < 90 else small)
    pen.text((_MARGIN, _HEIGHT - 26), "kept: green; rejected: red", fill=_FAINT, font=small)
    with Beneath(path.absolute().parent) as folder:
        folder.write(path.name, signed(image, _SOFTWARE))
