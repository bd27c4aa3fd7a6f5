"""Texts of any editor are read as what they say, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotfolder.errors import PromptSyntax
from hotfolder.folders.layout import Layout
from hotfolder.prompt_files.decoding import NotText, decoded
from hotfolder.prompt_files.reading import read_specs
from hotfolder.prompt_files.wildcards import WildcardLists

FILES = {
    "a.txt": "a grün circle",
    "b.toml": 'prompt = "a grün circle"',
    "c.json": '{"prompt": "a grün circle"}',
}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", FILES)
def test_each_kind_of_file_may_come_from_any_editor(tmp_path: Path, name: str, encoding: str) -> None:
    (tmp_path / name).write_bytes(f"{FILES[name]}\r\n".encode(encoding))
    (spec,) = read_specs(tmp_path / name, lambda _: None)
    assert spec.prompt == "a grün circle"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_lists_of_words_may_too(layout: Layout, encoding: str) -> None:
    layout.wildcards.mkdir(exist_ok=True)
    (layout.wildcards / "colours.txt").write_bytes("grün\r\nblau\r\n".encode(encoding))
    assert WildcardLists(layout)("colours") == ["grün", "blau"]


def test_a_list_that_cannot_be_read_is_not_called_missing(layout: Layout) -> None:
    layout.wildcards.mkdir(exist_ok=True)
    (layout.wildcards / "colours.txt").write_bytes("красный синий".encode("cp1251"))
    with pytest.raises(PromptSyntax, match=r"^wildcards/colours\.txt cannot be read: it is not UTF-8 text"):
        WildcardLists(layout)("colours")


def test_a_code_page_is_named_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.txt").write_bytes("un café “noir” à 5 €".encode("cp1252"))
    assert read_specs(tmp_path / "a.txt", lambda _: None)[0].prompt == "un café “noir” à 5 €"
    assert "a.txt is not UTF-8: read as Windows-1252" in caplog.text


@pytest.mark.parametrize(
    "data",
    [
        "красный круг".encode("cp1251"),
        "κόκκινο".encode("cp1253"),
        "赤い円".encode("cp932"),
        "アイス".encode("cp932"),
        "红色的圆".encode("gbk"),
        "czerwone koło".encode("cp1250"),
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"a\0b",
        "\ufeffa".encode("utf-16-le") + b"\0",
        b"\xef\xbb\xbfa\xff",
    ],
)
def test_what_would_be_a_guess_is_refused(data: bytes) -> None:
    with pytest.raises(NotText, match="it is n"):
        decoded(data)


def test_lines_end_as_on_any_machine() -> None:
    assert decoded(b"a\r\nb\rc\nd") == ("a\nb\nc\nd", "utf-8")
