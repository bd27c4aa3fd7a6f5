"""Words that a person looks for, and whether texts say them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

#: A word, or several in quotation marks that have to stand together.
_PARTS = re.compile(r'"([^"]*)"?|(\S+)')

#: What LIKE does not compare as it should: letters beyond ASCII, and spaces, of which a text may have several.
_UNSURE = re.compile(r"[^!-~]+")
#: What means something to LIKE.
_SIGNS, _ESCAPED = r"[\\%_]", r"\\\g<0>"


@dataclass(frozen=True, slots=True)
class Words:
    """All of them have to be said, anywhere, large or small. 'cat' finds 'cats', and not 'scatter'."""

    wanted: tuple[str, ...]  # in small letters

    @classmethod
    def of(cls, text: str) -> Words:
        """The words of a text; what stands in quotation marks is one. Without any, it finds nothing."""
        found = (" ".join((quoted or word).split()).lower() for quoted, word in _PARTS.findall(text))
        return cls(tuple(dict.fromkeys(word for word in found if word)))

    def patterns(self) -> list[str]:
        """For LIKE, with backslashes: a text that says a word matches its pattern, and others may.

        SQLite knows large and small of ASCII only: any other letter may be anything.
        """
        parts = [[part for part in _UNSURE.split(word) if part] for word in self.wanted]
        return [f"%{'%'.join(re.sub(_SIGNS, _ESCAPED, part) for part in some)}%" for some in parts if some]

    def said(self, texts: Iterable[str]) -> list[bool] | None:
        """For each of these texts, whether it says any of the words; None unless together they say all."""
        small = [" ".join(text.lower().split()) for text in texts]
        told = []
        for word in self.wanted:
            told.append([_says(text, word) for text in small])
            if not any(told[-1]):
                return None
        return [any(column) for column in zip(*told, strict=True)] if told else None


def _says(text: str, word: str) -> bool:
    """A word is found where a word begins; in scripts without large and small letters, words have no spaces."""
    if word not in text:
        return False
    if not word[0].isdigit() and word[0] == word[0].upper():
        return True
    return re.search(rf"(?<![^\W_]){re.escape(word)}", text) is not None
