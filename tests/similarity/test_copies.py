"""Copies are known again by their layouts, and other pictures are not taken for them."""

from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image

from hotfolder.demo.pictures import draw_landscape
from hotfolder.similarity.copies import COPIES, Collection
from hotfolder.similarity.layout import SIZE, layout_of, stacked, telling
from hotfolder.similarity.ranking import cosines
from tools.measure_duplicates import copies_of, measure, pictures


def stored(images: list[Image.Image]) -> np.ndarray:
    return stacked([layout_of(image).astype("<f2").tobytes() for image in images], SIZE)


@pytest.mark.slow
def test_planted_copies_are_found_and_nothing_else() -> None:
    """Scenes and their quarters, and landscapes, which are alike at a glance."""
    drawn = list(pictures(12, 4))
    told = measure(
        [f"{name} 0" for name, _, _ in drawn], [kind for _, kind, _ in drawn], stored([each for *_, each in drawn])
    )
    assert told["pictures"] == 12 * 6 + 30 and told["copies planted"] == 30
    for found in (told["duplicates"], told["search --like"]):
        assert isinstance(found, dict)
        assert found["recall"] >= 0.95 and found["precision"] >= 0.95


def test_a_copy_is_known_in_a_collection_of_one() -> None:
    landscape = draw_landscape(3)
    for name, copy in copies_of(landscape, random.Random(2)):
        first, second, found = Collection(stored([landscape, copy])).copies()
        assert (first.tolist(), second.tolist()) == ([0], [1]), name
        assert found[0] >= COPIES
        assert Collection(stored([landscape])).alike(stored([copy])[0])[0] >= COPIES, name


@pytest.mark.parametrize("count", [0, 1])
def test_few_pictures_are_no_trouble(count: int) -> None:
    collection = Collection(stored([draw_landscape(0)] * count))
    assert [len(part) for part in collection.copies()] == [0, 0, 0]
    assert len(collection.alike(layout_of(draw_landscape(1)))) == count


def test_colour_and_light_are_told_apart() -> None:
    landscape = draw_landscape(3)
    red, green, blue = landscape.split()
    other = Image.merge("RGB", (blue, green, red))
    assert len(Collection(stored([landscape, other])).copies()[0]) == 0
    assert (
        len(Collection(stored([landscape, landscape.transpose(Image.Transpose.FLIP_LEFT_RIGHT)])).copies()[0]) == 0
    )


def test_nothing_in_a_picture_is_no_likeness_to_everything() -> None:
    flat = [Image.new("RGB", (64, 64), (level, level, level)) for level in (0, 128, 255)]
    first, second, _ = Collection(stored([*(draw_landscape(number) for number in range(5)), *flat])).copies()
    assert not {(one, other) for one, other in zip(first.tolist(), second.tolist(), strict=True) if one < 5}


def test_the_layout_of_a_crop_can_be_computed() -> None:
    landscape = draw_landscape(5, (400, 400))
    part = landscape.crop((10, 20, 390, 400))
    whole, expected = layout_of(landscape)[None], telling(layout_of(part)[None])
    computed = telling(whole, (0.05, 0.95), (0.025, 0.95))
    assert np.abs(computed - expected).mean() < 0.25 * np.abs(telling(whole) - expected).mean()


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (5000, 2), (31, 33)])
def test_any_size_has_a_layout(size: tuple[int, int]) -> None:
    found = layout_of(Image.new("RGB", size, (10, 20, 30)))
    assert found.shape == (SIZE,) and np.isfinite(found).all()
    assert found[0] == pytest.approx(0.299 * 10 + 0.587 * 20 + 0.114 * 30, abs=0.01)


def test_cosines() -> None:
    rows = np.array([[2, 0], [0, 3], [-1, 0], [0, 0]], np.float32)
    assert cosines(rows, np.array([5, 0], np.float32)).tolist() == pytest.approx([1, 0, -1, 0])
    assert len(cosines(np.empty((0, 2), np.float32), np.ones(2, np.float32))) == 0
