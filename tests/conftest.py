"""Fixtures that every room shares."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261124)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's caches out of the tests, and the tests out of the user's caches."""
    monkeypatch.setenv("PNEUMOSCOPE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real radiographs in Kaggle's layout, where one is named."""
    named = os.environ.get("PNEUMOSCOPE_DATA")
    if not named or not Path(named).is_dir():
        pytest.skip("PNEUMOSCOPE_DATA names no folder of real radiographs")
    return Path(named).resolve()


@pytest.fixture(scope="session")
def originals(real_data: Path) -> Path:
    """A hundred of the real radiographs at their original size, class folders."""
    folder = real_data.parent / "originals"
    if not folder.is_dir():
        pytest.skip(f"no originals beside {real_data}")
    return folder
