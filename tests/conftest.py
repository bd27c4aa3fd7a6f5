"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hotfolder.folders.layout import Layout
from tests.support.roots import new_root

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is found out about networks is remembered for this run of the tests, not in the user's cache."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A fresh root with the preset 'tiny'."""
    return new_root(tmp_path)


def _real_data(variable: str, name: str) -> Path:
    folder = Path(os.environ.get(variable, SHARED / name))
    if not folder.is_dir():
        pytest.skip(f"no real {name} at {folder}; set {variable} to a folder that has them")
    return folder


@pytest.fixture(scope="session")
def real_images() -> Path:
    """A folder with photographs."""
    return _real_data("HOTFOLDER_TEST_IMAGES", "images")


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """A folder with the weights of real models."""
    return _real_data("HOTFOLDER_TEST_WEIGHTS", "weights")
