"""What is a secret in a text, and what is none."""

from __future__ import annotations

import logging

import pytest

from hotfolder import masking
from hotfolder.errors import BadInput
from hotfolder.masking import learn_addresses, learn_credentials, learn_environment, masked
from hotfolder.printable import SafeFormatter


@pytest.fixture(autouse=True)
def _nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_known", {})
    monkeypatch.setattr(masking, "_pattern", None)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("('mailto://user:pass@host?from=me', 'x')", "('mailto://***', 'x')"),
        ("sent to tgram://123:AbC/456, twice", "sent to tgram://*** twice"),
        ("https://user:pw@host/x?key=abc&b=c#end", "https://***@host/x?key=***&b=***#end"),
        ("https://token@host/x", "https://***@host/x"),
        ("https://github.com/a/b@main", "https://github.com/a/b@main"),
        ("Illegal header value b'Bearer hf_abc1234567890'", "Illegal header value b'Bearer ***'"),
        ("token hf_ABCDEFGHIJKLMNOPQR is wrong", "token *** is wrong"),
        ("inbox/score/image.php?id=3.png", "inbox/score/image.php?id=3.png"),
        ("the basic rule; a bearer of news", "the basic rule; a bearer of news"),
    ],
)
def test_addresses_are_masked_whoever_names_them(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_what_is_known_to_be_secret_is_masked_wherever_it_stands() -> None:
    learn_addresses(
        [
            "mailto://me:hunt%23er2@host",
            "tgram://12345678:AAFxyz-9/87654321",
            "ntfy://ntfy.example.org/cats",
            "plain!",
        ]
    )
    learn_environment({"HF_TOKEN": "abcdefgh ", "MY_PASSWORD": "12345678", "PATH": "/usr/local", "X_TOKEN": "1"})
    learn_credentials(["https://mirror.example.org/models/Real-ESRGAN?sig=Zm9v", ""])
    for secret in ("hunt#er2", "hunt%23er2", "AAFxyz-9", "87654321", "/cats", "plain!", "abcdefgh", "Zm9v"):
        assert masked(f"url: {secret} (by {secret})") == "url: *** (by ***)", secret
    for word in ("cats", "scat", "keep/cats.png", "/usr/local", "1", "Real-ESRGAN", "mirror.example.org"):
        assert masked(f"taken: {word}") == f"taken: {word}"


def test_errors_and_every_line_of_the_log_are_masked() -> None:
    error = BadInput("ftp://a:bc@d is no image", "see https://a:b@c")
    assert (str(error), error.message, error.fix) == (("ftp://***@d is no image",) * 2 + ("see https://***@c",))
    try:
        raise ValueError("no https://a:b@c here")
    except ValueError as raised:
        record = logging.LogRecord(
            "urllib3", 30, "", 0, "at %s", ("json://x/y",), (type(raised), raised, raised.__traceback__)
        )
    line = SafeFormatter("%(message)s").format(record)
    assert line.startswith("at json://***\nTraceback")
    assert "a:b" not in line.replace('raise ValueError("no https://a:b@c here")', "")
