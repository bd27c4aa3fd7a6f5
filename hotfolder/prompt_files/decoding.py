"""From the bytes of a text that people wrote to its characters: prompt files and lists of words, by one rule.

1. A byte order mark says which encoding it is: UTF-8, UTF-16 or UTF-32. It is no part of the text.
2. Without one, UTF-8. Every other byte 0: UTF-16, which PowerShell writes.
3. What is none of these is read as Windows-1252, the code page of Western Europe, if then nothing but letters and
   punctuation of its languages stand in it, and no more than two of them in a row. Other code pages look otherwise.
Lines end as on Unix, Windows, or an old Mac.
"""

from __future__ import annotations

import codecs
import re

_MARKS = (  # UTF-32's little-endian one begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WESTERN_LETTERS = "àâäáãåæçèéêëìíîïñòóôöõøœùúûüÿšžßÀÂÄÁÃÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÖÕØŒÙÚÛÜŸŠŽ"
_WESTERN = re.compile(f"[\x00-\x7f{_WESTERN_LETTERS}€‚„…‘’“”•–—™«»¡¿°§£©®·\u00a0]*")
_FOREIGN = re.compile(f"[{_WESTERN_LETTERS}]{{3}}")


class NotText(ValueError):
    """Says in words why the bytes are no text that can be read."""


def decoded(data: bytes) -> tuple[str, str]:
    """The text with '\\n' at the end of its lines, and the encoding that it was taken for. Raises NotText."""
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if encoding is None:
        encoding = _unmarked(data)
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise NotText(f"it is not {encoding.upper()} text (byte {error.start})") from None
    if "\0" in text:
        raise NotText("it is no text: it has characters of number 0")
    return text.replace("\r\n", "\n").replace("\r", "\n"), encoding


def _unmarked(data: bytes) -> str:
    if len(data) >= 2 and len(data) % 2 == 0 and b"\0" in data:
        even, odd = data[::2].count(0), data[1::2].count(0)
        if max(even, odd) > len(data) // 4 and min(even, odd) == 0:
            return "utf-16-le" if odd else "utf-16-be"
    try:
        data.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError as error:
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError:
            text = "\ufffd"
        if "\0" in text or not _WESTERN.fullmatch(text) or _FOREIGN.search(text):
            raise NotText(
                f"it is not UTF-8 text (byte {error.start}), nor of another encoding that is known"
            ) from None
        return "cp1252"
