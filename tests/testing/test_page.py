"""The examples of ``testing.md``, run as a reader would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "web" / "docs" / "testing.md"
SHOW_REPORTS = """
from jobrunner.testing import Report
check = Report.check
def shown(report):
    print(report)
    check(report)
Report.check = shown
"""


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_examples_pass_and_say_what_they_are_said_to_say(tmp_path: Path) -> None:
    text = PAGE.read_text("utf-8")
    files = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    assert list(files) == ["shop.py", "test_order.py", "test_killed.py"]
    for name, body in files.items():
        (tmp_path / name).write_text(body, "utf-8")
    (tmp_path / "conftest.py").write_text(SHOW_REPORTS, "utf-8")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "."]
    told = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "6 passed" in told.stdout
    [said] = re.findall(r"^```text\n(order and mail: .*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert said in told.stdout
