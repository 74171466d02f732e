from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobrunner.db.engine import Database, open_database
from tests.data_import.support import Importer


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database of each kind."""
    opened = open_database(database_url)
    yield opened
    opened.dispose()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty vipdoc folder."""
    folder = tmp_path / "vipdoc"
    (folder / "sh" / "lday").mkdir(parents=True)
    return folder


@pytest.fixture
def importer(database: Database, root: Path) -> Importer:
    """Imports from ``root``, and csv files from the folder above it."""
    return Importer(database, root, root.parent)


@pytest.fixture(scope="session")
def expected(test_data: Path) -> dict[str, Any]:
    """The independent facts about the real files."""
    facts: dict[str, Any] = json.loads((test_data / "EXPECTED.json").read_text("utf-8"))
    return facts
