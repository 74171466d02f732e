"""What a reader does with a page: saves its files, and types its commands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from jobrunner.api import docs
from tests.processes import INHERITED

ROOT = Path(__file__).parents[2]
USUAL = "http://127.0.0.1:8900"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, kind: str) -> list[str]:
    """The fenced blocks of this kind on a page, in their order."""
    text = (docs.folder() / page).read_text(encoding="utf-8")
    return [body for language, body in FENCED.findall(text) if language == kind]


def save(page: str, home: Path, *, but: frozenset[str] = frozenset()) -> list[str]:
    """Save the files that a page shows (a Python block that begins with its name); returns their names."""
    names = []
    for body in blocks(page, "python"):
        found = re.match(r"# (\w+\.py)\n", body)
        if found and found[1] not in but:
            (home / found[1]).write_text(body, encoding="utf-8")
            names.append(found[1])
    return names


def typed(script: str, home: Path, url: str = USUAL, **env: str) -> str:
    """What a shell prints that reads these lines in ``home``, with this code's commands at hand; they must succeed."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    here = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    told = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace(USUAL, url)],
        cwd=home,
        env={**kept, "PATH": here, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert told.returncode == 0, f"{script}\n{told.stdout}\n{told.stderr}"
    return told.stdout


def documents(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text, one after the other, whatever stands between them."""
    found = []
    at = text.find("{")
    while at >= 0:
        document, end = json.JSONDecoder().raw_decode(text, at)
        found.append(document)
        at = text.find("{", end)
    return found
