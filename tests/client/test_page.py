"""The program of the documentation's page runs as it stands there, and says what the page says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.client.conftest import ROOT
from tests.processes import Processes

PAGE = (ROOT / "web" / "docs" / "client.md").read_text()
NAMED = re.compile(r"```python\n# (\w+\.py)\n(.*?)```", re.DOTALL)
SAID = re.compile(r"```text\n(.*?)```", re.DOTALL)
LOOP = re.compile(r"## In a loop\n```python\n(.*?)```", re.DOTALL)


def test_the_program_of_the_page(processes: Processes, tmp_path: Path) -> None:
    for name, text in NAMED.findall(PAGE):
        (tmp_path / name).write_text(text)
    looping = LOOP.search(PAGE)
    assert looping is not None
    (tmp_path / "looping.py").write_text(f"import shop\n{looping[1]}")
    said = SAID.findall(PAGE)[0]
    for name, told in [("program.py", said), ("looping.py", "ordering\n")]:
        program = processes.start_command([sys.executable, "-W", "error", name], env={"PYTHONPATH": str(ROOT)})
        assert program.wait() == 0, program.tail()
        assert program.output.endswith(told)
        assert program.errors == ""
