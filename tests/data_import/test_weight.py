"""Who only knows the task type does not pay for reading files, and ``.day`` files do not pay for pandas."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.data_import.support import put, record


def loaded(code: str) -> set[str]:
    heavy = "numpy", "pandas"
    script = f"{code}\nimport sys\nprint(*(name for name in {heavy!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_registering_the_type_loads_nothing_heavy() -> None:
    assert loaded("import jobrunner.data_import\nimport jobrunner.data_import.sample") == set()


def test_day_files_are_read_without_pandas(root: Path) -> None:
    put(root, "sz000001.day", record(20240102))
    code = "from jobrunner.data_import.sources.tongdaxin import Vipdoc\nVipdoc({!r}).read('000001.SZ')"
    assert loaded(code.format(str(root))) == {"numpy"}
