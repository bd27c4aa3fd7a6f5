"""On which line of a file a key stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotfolder.config.lines import Lines, Loc

TEXT = '''
"gate".keep = 1            # [no] table
gate.'upscale' = 2
[ "executor" ]   # [neither]
devices = [
  "keep = 3",
  "[gate]",
]
text = """
[upscale]
keep = 4
""" # end
kind = { a = 1 }
[[inbox]]
name = "a"
[inbox.gate]
keep = 5
[[inbox]]
gate = { keep = 6 }
[[model]]
[[model.files]]
path = "x"
[[model.files]]
path = "y"
[[model]]
[[model.files]]
path = "z"
'''


@pytest.mark.parametrize(
    ("loc", "line"),
    [
        (("gate", "keep"), 2), (("gate", "upscale"), 3), (("gate", "none"), 2), (("executor",), 4),
        (("executor", "devices", 1), 5), (("executor", "kind"), 13), (("executor", "keep"), 4),
        (("upscale", "keep"), None), (("inbox",), 14), (("inbox", 0, "name"), 15), (("inbox", 0, "gate"), 16),
        (("inbox", 0, "gate", "keep"), 17), (("inbox", 1), 18), (("inbox", 1, "gate", "keep"), 19),
        (("inbox", 2, "name"), 14), (("model", 0, "files", 1, "path"), 24), (("model", 1, "files", 0, "path"), 27),
        ((), None),
    ],
)  # fmt: skip
def test_a_key_is_found_or_the_table_that_it_would_stand_in(tmp_path: Path, loc: Loc, line: int | None) -> None:
    (tmp_path / "x.toml").write_text(TEXT)
    lines = Lines("here", tmp_path / "x.toml")
    assert lines.at(loc) == line
    assert lines.place(loc) == ("here" if line is None else f"here:{line}")


def test_what_cannot_be_read_has_no_lines(tmp_path: Path) -> None:
    assert Lines("here").at(("gate",)) is None
    assert Lines("here", tmp_path / "none").place(("gate",)) == "here"
    (tmp_path / "x.toml").write_bytes(b"[gate\n]]]]\x00\xff = = =\n'")
    assert Lines("here", tmp_path / "x.toml").at(("gate",)) in (None, 1)
