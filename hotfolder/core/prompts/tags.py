"""What a prompt names by tags: `<lora:name:0.8>` as in the Stable Diffusion web UI, `<embedding:name>` likewise.

ComfyUI writes the second `embedding:name`; that is understood, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from hotfolder.core.prompts.converters import MOST_CHARACTERS, lora
from hotfolder.core.prompts.emphasis import parse, plain_text

_TAG = re.compile(r"<lora:([^<>]*)>")
_EMBEDDING = re.compile(r"<embedding:\s*([^<>:]+?)\s*>|(?<![\w<])embedding:([\w./-]*\w)")


def take_loras(prompt: str) -> tuple[str, tuple[tuple[str, float], ...]]:
    """The prompt without its tags, and what they name. Raises ValueError for one that is not understood."""
    pieces, found, at = [], [], 0
    for match in _TAG.finditer(prompt):
        pieces.append(prompt[at : match.start()].rstrip())
        found.append(lora(match[1]))
        at = match.end()
    return ("".join([*pieces, prompt[at:]]).strip() if found else prompt), tuple(found)


def embeddings_in(prompt: str) -> tuple[str, ...]:
    """The textual inversions that it names, each once."""
    return tuple(dict.fromkeys(_name(match) for match in _EMBEDDING.finditer(prompt)))


def with_embeddings(prompt: str, words: Callable[[str], str]) -> str:
    """The prompt with the words that stand for each textual inversion in the place of its tag."""
    return _EMBEDDING.sub(lambda match: words(_name(match)), prompt)


def words_of(prompt: str) -> str:
    """What it says in words alone, for who looks at pictures: without tags and weights. May be empty."""
    words = _EMBEDDING.sub(" ", _TAG.sub(" ", prompt[:MOST_CHARACTERS]))
    return " ".join(plain_text(parse(words)).split())


def _name(match: re.Match[str]) -> str:
    found: str = match[1] or match[2]
    return found.removesuffix(".safetensors").removesuffix(".pt")
