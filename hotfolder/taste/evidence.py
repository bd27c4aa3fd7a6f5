"""What taste is learnt from: labels, pairs, and the library that they are of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: Labels and pairs that are learnt from, at most: the newest.
MOST_LABELS = 2000
#: Dropped prompts, or pictures, are divided into so many parts, each of which is judged by what the others taught.
FOLDS = 5
#: Pictures as alike as that, by the cosine of what tells them from the mean, are never on both sides.
_SAME = 0.97
#: Rows that are compared with all others at a time.
_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Label:
    """A person's word on one picture: a verdict, or a look after which it was left as it was."""

    content: str  # sha256
    keep: bool
    weight: float  # above 0, at most 1
    group: str  # what it comes from: a prompt, or a dropped file; what was enlarged from it belongs to it
    at: float  # seconds since the epoch
    agrees: bool  # the gate had said the same


@dataclass(frozen=True, slots=True)
class Pair:
    """Of two pictures of one prompt a person found one better."""

    winner: str  # sha256
    loser: str
    group: str
    at: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that taste is learnt from. Pictures by their content, each once, in order: the same bytes give the same."""

    contents: tuple[str, ...]
    vectors: NDArray[np.float32]  # (n, d), finite
    priors: Floats  # (n,): the score beside which taste is learnt, 1 to 10
    keep: float  # the gate's threshold of today
    labels: tuple[Label, ...]
    pairs: tuple[Pair, ...] = ()

    @classmethod
    def of(
        cls,
        library: Mapping[str, tuple[NDArray[np.float32], float]],
        keep: float,
        labels: Iterable[Label],
        pairs: Iterable[Pair] = (),
    ) -> Evidence:
        """Of what is known, in any order. The newest label of a picture counts, and only what has an embedding."""
        contents = tuple(sorted(library))
        vectors = np.stack([library[each][0] for each in contents]) if contents else np.zeros((0, 1), np.float32)
        newest: dict[str, Label] = {}
        for label in sorted(labels, key=_age):
            if label.content in library:
                newest[label.content] = label
        known = {
            (p.winner, p.loser, p.at): p
            for p in pairs
            if p.winner in library and p.loser in library and p.winner != p.loser
        }
        kept_labels = sorted(newest.values(), key=_age)[-MOST_LABELS:]
        kept_pairs = [known[key] for key in sorted(known, key=lambda key: (key[2], *key[:2]))][-MOST_LABELS:]
        return cls(
            contents,
            vectors.astype(np.float32),
            np.array([library[each][1] for each in contents], np.float64),
            keep,
            tuple(kept_labels),
            tuple(kept_pairs),
        )

    def without_newest(self, count: int) -> Evidence:
        """The same as it was so many labels and pairs ago."""
        times = sorted([(*_age(label), 0) for label in self.labels] + [(*_age_of_pair(p), 1) for p in self.pairs])
        if len(times) <= count:
            return replace(self, labels=(), pairs=())
        first = times[len(times) - count]
        return replace(
            self,
            labels=tuple(label for label in self.labels if (*_age(label), 0) < first),
            pairs=tuple(pair for pair in self.pairs if (*_age_of_pair(pair), 1) < first),
        )

    @property
    def newest(self) -> float | None:
        """When the last of it was said, in seconds since the epoch; None where nothing was."""
        return max([label.at for label in self.labels] + [pair.at for pair in self.pairs], default=None)

    @property
    def digest(self) -> str:
        """Of the labels and pairs alone: the same ones give the same."""
        lines = [f"{x.content} {x.keep:d} {x.weight:g} {x.group} {x.at:.3f} {x.agrees:d}" for x in self.labels]
        lines += [f"{x.winner} > {x.loser} {x.group} {x.at:.3f}" for x in self.pairs]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def kept(self) -> int:
        return sum(label.keep for label in self.labels)

    @property
    def rejected(self) -> int:
        return len(self.labels) - self.kept

    @property
    def agreeing(self) -> float:
        """Which share of the labels, by weight, says what the gate had said."""
        total = sum(label.weight for label in self.labels)
        return sum(label.weight for label in self.labels if label.agrees) / total if total else 0.0


def _age(label: Label) -> tuple[float, str]:
    return label.at, label.content


def _age_of_pair(pair: Pair) -> tuple[float, str]:
    return pair.at, f"{pair.winner} {pair.loser}"


def joined_groups(names: Sequence[str], rows: Floats, links: Iterable[tuple[int, int]] = ()) -> list[str]:
    """The group of each row, where groups with nearly the same picture, or linked ones, are one.

    It has the first of their names, so that nothing depends on an order.
    """
    known = sorted(set(names))
    places = {name: place for place, name in enumerate(known)}
    groups = np.array([places[name] for name in names], np.int64)

    def join(some: Sequence[int] | NDArray[np.int64]) -> None:
        found = np.unique(groups[some])
        if len(found) > 1:
            groups[np.isin(groups, found)] = found[0]

    for link in links:
        join(list(link))
    unit = rows.astype(np.float32)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), np.float32(1e-12))
    for start in range(0, len(unit), _AT_ONCE):
        alike = unit[start : start + _AT_ONCE] @ unit.T > _SAME
        for row in np.nonzero(alike.sum(axis=1) > 1)[0]:  # each is like itself
            join(np.nonzero(alike[row])[0])
    return [known[group] for group in groups]


def fold_of(group: str) -> int:
    """0 to 4: the same for a group wherever it is asked."""
    return hashlib.sha256(group.encode()).digest()[0] % FOLDS
