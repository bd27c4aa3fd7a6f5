"""The whole way with the built-in models: pictures, the gallery's routes, the daemon, the gate."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.measure_taste import measure


@pytest.mark.slow
def test_a_person_who_likes_warm_pictures_gets_more_of_them(tmp_path: Path) -> None:
    found = measure(tmp_path, "warm", 150, 80, drawn=True)
    assert found.on_after is not None
    assert found.gain is not None and found.gain_error is not None
    assert found.gain - 1.96 * found.gain_error > 0.1


@pytest.mark.slow
def test_a_person_who_sees_it_as_the_gate_does_keeps_the_gate(tmp_path: Path) -> None:
    found = measure(tmp_path, "gate", 100, 1, drawn=True)
    assert found.on_after is None
    assert found.agreed_taste is None
