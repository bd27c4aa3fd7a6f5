"""Options of other programs' prompt lines: those that have no meaning here, and InvokeAI's short ones."""

from __future__ import annotations

import re

from hotfolder.core.samplers import sampler_called
from hotfolder.errors import PromptSyntax
from hotfolder.types import Place

#: The web UI's 'Prompts from file' (scripts/prompts_from_file.py): where and what it saves is not asked of us.
_PASSED_OVER = {
    "do_not_save_grid",
    "do_not_save_samples",
    "outpath_grids",
    "outpath_samples",
    "prompt_for_display",
}
#: What it would do to the picture, and the values with which it does nothing.
_NOTHING = {
    "restore_faces": ("false", "no", "0"), "tiling": ("false", "no", "0"), "styles": ("",), "subseed": ("-1",),
    "subseed_strength": ("0", "0.0"), "seed_resize_from_h": ("0", "-1"), "seed_resize_from_w": ("0", "-1"),
}  # fmt: skip
#: InvokeAI's, of which '-S1234' and '-S 1234' are the same.
_SHORT = {
    "s": "steps", "S": "seed", "W": "width", "H": "height", "C": "guidance", "n": "count", "A": "sampler",
}  # fmt: skip


def is_web_uis(key: str) -> bool:
    """Whether a flag of this name is one of the web UI's that is not ours."""
    return key in _PASSED_OVER or key in _NOTHING or key == "sampler_index"


def says_nothing(key: str) -> bool:
    """Whether it is one of those that are passed over whatever they say, and so without a value, too."""
    return key in _PASSED_OVER


def check_nothing(place: Place, key: str, value: str) -> None:
    """Raises PromptSyntax where such a flag asks for something."""
    if key == "sampler_index":
        raise PromptSyntax(
            "--sampler_index counts in the web UI's list", "name it: --sampler_name 'Euler a'", at=place
        )
    if key in _NOTHING and value.lower() not in _NOTHING[key]:
        raise PromptSyntax(f"--{key} {value[:60]} is not done here", f"leave --{key} out", at=place)


def short_flags(text: str) -> tuple[int, list[tuple[str, str, int]]]:
    """Where InvokeAI's flags begin at the end of a line, and (letter, value, index) of each.

    A line has some only if one of them is known and has a value that fits: '-v 5' alone are words.
    """
    words = [(found.start(), found[0]) for found in re.finditer(r"\S+", text)]
    flags: list[tuple[str, str, int]] = []
    left = len(words)
    while left:
        at, word = words[left - 1]
        joined = re.fullmatch(r"-([A-Za-z])([\d.]\S*|)", word)
        before = re.fullmatch(r"-([A-Za-z])", words[left - 2][1]) if left > 1 else None
        if joined:
            flags.append((joined[1], joined[2], at))
            left -= 1
        elif before and re.fullmatch(r"[\w.+/]+", word):
            flags.append((before[1], word, words[left - 2][0]))
            left -= 2
        else:
            break
    if not any(_fits(letter, value) for letter, value, _ in flags):
        return len(text), []
    return flags[-1][2], flags[::-1]


def _fits(letter: str, value: str) -> bool:
    if letter == "A":
        return sampler_called(value) is not None
    return letter in _SHORT and re.fullmatch(r"\d+" if letter != "C" else r"\d+(\.\d+)?", value) is not None


def long_name(place: Place, letter: str) -> str:
    """Raises PromptSyntax for one that is not done here."""
    if letter not in _SHORT:
        raise PromptSyntax(
            f"-{letter} is a flag of InvokeAI that is not done here",
            f"leave it out, or -{letter} is a word",
            at=place,
        )
    return f"--{_SHORT[letter]}"
