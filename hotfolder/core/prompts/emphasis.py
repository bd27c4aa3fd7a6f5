"""Words made strong or weak, for models that read with CLIP: `(red:1.4)`, `(red)`, `[red]`, `BREAK`.

The syntax is that of the Stable Diffusion web UI (modules/prompt_parser.py): round brackets weigh 1.1 or what is said,
square ones 1/1.1, a backslash takes a bracket's meaning; 'BREAK' begins the next 75 tokens. A bracket without a
partner stands for itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PART = re.compile(r"\\[()\[\]\\]|\\|[(\[]|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[)\]]|[^\\()\[\]:]+|:")
_BREAK = re.compile(r"\s*\bBREAK\b\s*")
_ROUND = 1.1
#: What the web UI does at a step, or at every other one: [from:to:when], [a|b].
_EDITING = re.compile(r"(?<!\\)\[[^\[\]]{0,500}(?::\s{0,9}[\d.]{1,9}|\|[^\[\]]{0,500})\]")
#: Brackets inside brackets; what is deeper stands for itself.
_DEEPEST = 50


@dataclass(frozen=True, slots=True)
class Fragment:
    """Words of one weight."""

    text: str
    weight: float


Sections = tuple[tuple[Fragment, ...], ...]


def parse(prompt: str) -> Sections:
    """The fragments of each part between BREAKs; any text is understood."""
    sections = [_fragments(part) for part in _BREAK.split(prompt)]
    return tuple(section for section in sections if section) or ((Fragment("", 1.0),),)


def is_plain(sections: Sections) -> bool:
    """Whether nothing in it is strong or weak, or begins anew."""
    return len(sections) == 1 and all(fragment.weight == 1.0 for fragment in sections[0])


def plain_text(sections: Sections) -> str:
    """Its words alone."""
    return " ".join("".join(fragment.text for fragment in section) for section in sections)


def editing_in(prompt: str) -> str | None:
    """What it asks for that changes while a picture is drawn; None where there is no such thing."""
    found = _EDITING.search(prompt)
    return found[0] if found else None


def _fragments(text: str) -> tuple[Fragment, ...]:
    parts: list[tuple[str, float]] = []
    open_: dict[str, list[int]] = {"(": [], "[": []}

    def close(kind: str, weight: float) -> None:
        start = open_[kind].pop()
        parts[start:] = [(words, each * weight) for words, each in parts[start:]]
        for sign, places in open_.items():  # what was opened inside, and is not closed, stands for itself
            while places and places[-1] > start:
                parts.insert(places.pop(), (sign, weight))

    for found in _PART.finditer(text):
        piece, weight = found[0], found[1]
        if piece.startswith("\\") and len(piece) == 2:
            parts.append((piece[1], 1.0))
        elif piece in open_ and len(open_[piece]) < _DEEPEST:
            open_[piece].append(len(parts))
        elif weight is not None and open_["("]:
            close("(", float(weight))
        elif piece == ")" and open_["("]:
            close("(", _ROUND)
        elif piece == "]" and open_["["]:
            close("[", 1 / _ROUND)
        else:
            parts.append((piece, 1.0))
    left = [(at, sign) for sign, places in open_.items() for at in places]
    for at, sign in sorted(left, reverse=True):
        parts.insert(at, (sign, 1.0))
    return _joined(parts)


def _joined(parts: list[tuple[str, float]]) -> tuple[Fragment, ...]:
    found: list[Fragment] = []
    for words, weight in parts:
        weight = 1.0 if abs(weight - 1) < 1e-6 else weight
        if found and found[-1].weight == weight:
            found[-1] = Fragment(found[-1].text + words, weight)
        elif words:
            found.append(Fragment(words, weight))
    return tuple(found)
