"""TOML of others: what it says is read, and what it costs is bounded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from hotfolder.core.toml import loads


def _lines(line: Callable[[int], str], size: int = 2**22) -> str:
    """So many bytes of lines."""
    first = line(0)
    return "\n".join(line(number) for number in range(size // len(first)))


#: What a small parser would need gigabytes, or minutes, for.
BOMBS = {
    "one key": ".".join("a" * 60_000) + " = 1",
    "one key with spaces": " . ".join("a" * 20_000) + " = 1",
    "one key in quotation marks": ".".join(['"a"', "'b'"] * 15_000) + " = 1",
    "one header": "[" + ".".join("a" * 60_000) + "]",
    "one inline key": "a = {" + ".".join("a" * 60_000) + " = 1}",
    "long keys": _lines(lambda n: f"k{n}." + ".".join("a" * 990) + " = 1"),
    "keys": _lines(lambda n: f"k{n}." + ".".join("a" * 20) + " = 1"),
    "headers": _lines(lambda n: f"[{n:x}]"),
    "deep headers": _lines(lambda n: f"[{n:x}." + ".".join("a" * 20) + "]"),
    "inline tables": "a = [" + "{}," * 2**20 + "]",
    "arrays": "a = " + "[" * 90_000,
    "nested tables": "a = " + "{a = " * 90_000,
    "behind a text": 'a = """' + '\\"""' * 10_000 + '"""\n' + ".".join("a" * 60_000) + " = 1",
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_would_cost_too_much_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"more than|too deeply"):
        loads(BOMBS[name])


@pytest.mark.parametrize(
    "text",
    [
        "a.b.c = 1",
        f'a = "{"word. " * 200_000}"',
        f"a = '''{'[[' * 200_000}'''",
        f'# {"a." * 200_000}\na = "#"\nb = 1',
        "\n".join(f'[[prompts]]\nprompt = "a cat"\nstrength = 0.{n}' for n in range(10_000)),
        'a = """a "" b """""',
        "\"a.b\".'c.d' = 1",
    ],
)
def test_everything_else_is_read_as_it_stands(text: str) -> None:
    assert loads(text) == tomli.loads(text)


@given(st.text(alphabet="ab.=\"'#\\\n[]{} 1", max_size=60))
def test_it_is_the_parser_of_python(text: str) -> None:
    try:
        expected = tomli.loads(text)
    except ValueError:
        with pytest.raises(ValueError):
            loads(text)
    else:
        assert loads(text) == expected
