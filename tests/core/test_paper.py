"""Sizes of paper."""

import pytest

from hotfolder.core import paper


@pytest.mark.parametrize(
    ("text", "dpi", "expected"),
    [
        ("A3", 300, (3508, 4961)),
        ("a4", 300, (2480, 3508)),
        ("A0", 150, (4967, 7022)),
        ("Letter", 300, (2550, 3300)),
        ("legal", 300, (2550, 4200)),
        ("Tabloid", 300, (3300, 5100)),
        ("10x8in", 300, (2400, 3000)),
        ("20 x 30 cm", 254, (2000, 3000)),
        ("297×420mm", 300, (3508, 4961)),
        ("1.5x1mm", 25.4, (1, 2)),
    ],
)
def test_a_sheet_in_pixels(text: str, dpi: float, expected: tuple[int, int]) -> None:
    assert paper.pixels(paper.sheet(text), dpi) == expected


@pytest.mark.parametrize("text", ["", "A11", "B4", "20x30", "x30cm", "0x10cm", "1x30000mm", "nanx1in", "A3 "[:1]])
def test_what_is_no_paper_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no size of paper"):
        paper.sheet(text)
