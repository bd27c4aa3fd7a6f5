"""The whole way with the built-in models: pictures, the gallery's routes, the daemon, the gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hotfolder.folders.layout import Layout
from tests.support.in_process import hotfolder
from tests.support.roots import rows
from tools.measure_taste import measure


@pytest.mark.slow
def test_a_person_who_likes_warm_pictures_gets_more_of_them(tmp_path: Path) -> None:
    found = measure(tmp_path, "warm", 220, 80, drawn=True)
    assert found.on_after is not None
    assert found.gain is not None and found.gain_error is not None
    assert found.gain - 1.96 * found.gain_error > 0.1
    layout = Layout(tmp_path / "warm")
    for file in (layout.root / "keep").rglob("*.png"):
        file.write_bytes(b"no picture any more")  # stored embeddings are enough
    by_gate = rescored(layout)
    assert (by_gate["scorer"], by_gate["images"], by_gate["left"], by_gate["errors"]) == ("taste", 300, 0, [])
    assert rows(layout, "SELECT count(DISTINCT image_id) FROM image_scores WHERE scorer = 'taste'") == [(300,)]
    mixed = rescored(layout, "--scorer", "0.7*technical + 0.3*taste")
    assert mixed["added"] >= 300
    (wrong,) = rows(
        layout,
        "SELECT count(*) FROM image_scores AS mixed JOIN image_scores AS t USING (image_id) "
        "JOIN image_scores AS p USING (image_id) WHERE mixed.scorer = '0.7*technical + 0.3*taste' "
        "AND t.scorer = 'taste' AND p.scorer = 'technical' "
        "AND abs(mixed.score - 0.7 * p.score - 0.3 * t.score) > 1e-4",
    )
    assert wrong == (0,)


def rescored(layout: Layout, *arguments: str) -> Any:
    done = hotfolder("rescore", *arguments, "--root", layout.root, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_person_who_sees_it_as_the_gate_does_keeps_the_gate(tmp_path: Path) -> None:
    found = measure(tmp_path, "gate", 100, 1, drawn=True)
    assert found.on_after is None
    assert found.agreed_taste is None
