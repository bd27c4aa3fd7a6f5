"""Tables for other programs."""

from __future__ import annotations

import csv
import io

import pytest

from hotfolder.cli import table


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ('=HYPERLINK("https://example.org")', '\'=HYPERLINK("https://example.org")'),
        ("@SUM(1+1)*cmd|' /C calc'!A0", "'@SUM(1+1)*cmd|' /C calc'!A0"),
        ("+1+1", "'+1+1"),
        ("-2+3", "'-2+3"),
        ("  =1", "'  =1"),
        ("＝1", "'＝1"),
        ("\t=1", "'\\t=1"),
        ("\r=1", "'\\r=1"),
        ("\n=1", "'\n=1"),
        ("a\x1b[2Jb\x00\udcff", r"a\x1b[2Jb\x00\udcff"),
        ('two\nlines; "quoted", it\'s Ä=1', 'two\nlines; "quoted", it\'s Ä=1'),
        ("-1.5e3", "-1.5e3"),
        (-1.5, "-1.5"),
        (None, ""),
        ("", ""),
    ],
)
def test_no_cell_is_a_formula_or_steers_a_terminal(
    value: object, written: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table.write_csv(["=a", "b"], [[value, 1]])
    assert list(csv.reader(io.StringIO(capsys.readouterr().out, newline=""))) == [["'=a", "b"], [written, "1"]]
