"""Text from files and their names, made safe to show."""

from __future__ import annotations

import json
import logging
import unicodedata

from hotfolder.masking import masked

#: Joiners: invisible, harmless, and part of many emoji and scripts.
_JOINERS = "\u200c\u200d"


def printable(text: str) -> str:
    """Control characters, changes of direction and bytes that are no text, escaped.

    What a file says must not steer a terminal, nor look like another line of a log.
    """
    if text.isprintable():  # nearly always, and asked for each line of the log
        return text
    return "".join(c if _is_harmless(c) else c.encode("unicode_escape").decode() for c in text)


def json_text(value: object) -> str:
    """JSON for people to read: other scripts as they are, but nothing in it that steers a terminal."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return "".join(c if c == "\n" or _is_harmless(c) else json.dumps(c)[1:-1] for c in text)


def _is_harmless(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs" or character in _JOINERS


class SafeFormatter(logging.Formatter):
    """Log lines, whoever wrote them, that are `printable` and tell no secrets; a traceback keeps its lines."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802 - as above
        text = super().formatException(ei)  # type: ignore[arg-type]
        return "\n".join(printable(line) for line in text.split("\n"))
