"""Words made strong or weak: the web UI's language."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotfolder.core.prompts.emphasis import editing_in, is_plain, parse, plain_text
from hotfolder.core.prompts.metadata import prompt_in
from hotfolder.core.prompts.tags import words_of


@pytest.mark.parametrize(
    ("prompt", "fragments"),
    [
        ("a red cat", [("a red cat", 1.0)]),
        ("a (red:1.4) cat", [("a ", 1.0), ("red", 1.4), (" cat", 1.0)]),
        ("a (red) cat", [("a ", 1.0), ("red", 1.1), (" cat", 1.0)]),
        ("a ((red)) cat", [("a ", 1.0), ("red", 1.21), (" cat", 1.0)]),
        ("a [red] cat", [("a ", 1.0), ("red", 1 / 1.1), (" cat", 1.0)]),
        ("a (red:0) cat", [("a ", 1.0), ("red", 0.0), (" cat", 1.0)]),
        ("a (big (red:1.5):2) cat", [("a ", 1.0), ("big ", 2.0), ("red", 3.0), (" cat", 1.0)]),
        ("a (red:1.0) cat", [("a red cat", 1.0)]),
        (r"a \(red\) \[cat\]", [("a (red) [cat]", 1.0)]),
        ("smile :) and :( a", [("smile :) and :( a", 1.0)]),
        ("a (red cat", [("a (red cat", 1.0)]),
        ("(a [b) c", [("a [b", 1.1), (" c", 1.0)]),
        ("a: b, 3:4", [("a: b, 3:4", 1.0)]),
        ("", [("", 1.0)]),
    ],
)
def test_weights(prompt: str, fragments: list[tuple[str, float]]) -> None:
    (section,) = parse(prompt)
    assert [(each.text, pytest.approx(each.weight)) for each in section] == fragments
    assert is_plain(parse(prompt)) == all(weight == 1 for _, weight in fragments)


def test_break_begins_anew() -> None:
    assert [plain_text((section,)) for section in parse("a (cat:1.2) BREAK a dog\nBREAK\nBREAKFAST")] == [
        "a cat",
        "a dog",
        "BREAKFAST",
    ]
    assert not is_plain(parse("a BREAK b"))


@pytest.mark.parametrize("prompt", ["a [cat:dog:0.5] b", "[cat::10]", "a [cat|dog] b"])
def test_what_changes_meanwhile_is_found(prompt: str) -> None:
    assert editing_in(prompt)


@pytest.mark.parametrize("prompt", ["a [cat] b", r"\[cat:dog:0.5]", "a cat: 3 dogs", "(cat:0.5)"])
def test_what_does_not_is_not(prompt: str) -> None:
    assert editing_in(prompt) is None


@given(st.text(alphabet="ab ()[]:\\.15BREAK", max_size=80))
def test_any_text_is_understood_and_no_word_is_lost(text: str) -> None:
    sections = parse(text)
    assert sections
    letters = [c for c in text.replace("BREAK", "") if c in "ab"]
    assert [c for c in plain_text(sections).replace("BREAK", "") if c in "ab"] == letters or "BREAK" in text


def test_thousands_of_brackets_take_no_time() -> None:
    started = time.process_time()
    for text in (
        "(" * 20_000,
        "(a" * 5_000 + ")" * 5_000,
        "[a" * 10_000,
        "(a:" * 6_000,
        "(a" * 9_000 + "[" * 2_000,
        "[" + "|" * 19_000,
    ):
        parse(text)
        editing_in(text)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a  red cat\n", "a red cat"),
        ("a (red:1.4) cat <lora:fur:0.8>, [dim] BREAK night", "a red cat , dim night"),
        ("<embedding:bad-hands> a cat, embedding:fur", "a cat,"),
        ("<lora:x>", ""),
        ("x" * 50_000, "x" * 20_000),
    ],
)
def test_what_a_prompt_says_to_who_looks_at_pictures(prompt: str, words: str) -> None:
    assert words_of(prompt) == words


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ({}, None),
        ({"hotfolder": '{"prompt": " a cat ", "seed": 1}'}, "a cat"),
        ({"hotfolder": '{"prompt": ["a cat"]}'}, None),
        ({"hotfolder": "[]"}, None),
        ({"hotfolder": "{"}, None),
        # What cannot be done again here is no matter: it is looked at, and not drawn.
        (
            {"parameters": "a cat\nNegative prompt: dogs\nSteps: 20, Seed: 1, Size: 64x64, Hires upscale: 2"},
            "a cat",
        ),
        ({"parameters": "just words"}, None),
        ({"prompt": "{}"}, None),
    ],
)
def test_what_an_image_says_that_it_was_to_show(text: dict[str, str], prompt: str | None) -> None:
    assert prompt_in("a.png", text) == prompt
