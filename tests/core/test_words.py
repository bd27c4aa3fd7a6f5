"""Words that a person looks for."""

from __future__ import annotations

import sqlite3

import pytest

from hotfolder.core.words import Words

SAID = [
    ("cat", "a red Cat"), ("cat", "cats-s7.png"), ("cat", "my_cat.png"), ("cat red", "a RED cat"),
    ('"red car"', "a red  car"), ("100%", "100% wool"), ("50_a", "x 50_a"), ("-s7", "cats-s7"),
    ("école", "une École"), ("кошка", "Рыжая КОШКА"), ("猫", "黒猫"), ("c:\\x", "c:\\x"), ("it's", "it's"),
]  # fmt: skip
NOT_SAID = [
    ("cat", "scatter"), ("red car", "a red cat"), ('"red car"', "car, red"), ("100%", "1000"), ("50_a", "50xa"),
    ("", "a"), ('""', "a"), ("  ", "a"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "text"), SAID)
def test_says(words: str, text: str) -> None:
    assert Words.of(words).said([text]) == [True]


@pytest.mark.parametrize(("words", "text"), NOT_SAID)
def test_does_not_say(words: str, text: str) -> None:
    assert Words.of(words).said([text]) is None


def test_each_text_may_say_some_of_the_words() -> None:
    assert Words.of("red cat").said(["a red one", "", "cat.png"]) == [True, False, True]
    assert Words.of("red cat").said(["a red one", "dog.png"]) is None


@pytest.mark.parametrize(("words", "text"), SAID)
def test_what_says_a_word_matches_its_pattern(words: str, text: str) -> None:
    connection = sqlite3.connect(":memory:")
    for pattern in Words.of(words).patterns():
        assert connection.execute("SELECT ? LIKE ? ESCAPE '\\'", (text, pattern)).fetchone() == (1,), pattern
