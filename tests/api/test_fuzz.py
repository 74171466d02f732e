"""The server against its own OpenAPI document, by schemathesis with all its checks, calls in a row included."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import Processes, free_port

KEY = "a-key-of-the-fuzzer"
CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 100  # for each operation


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", [20_261_127])
@pytest.mark.parametrize(
    "database",
    [
        pytest.param(
            "postgres_url", marks=pytest.mark.ci
        ),  # it has more ways to break: connections, prepared statements
        pytest.param("sqlite_url", marks=pytest.mark.long),
    ],
)
def test_every_call_does_what_the_document_says(
    database: str, seed: int, request: pytest.FixtureRequest, processes: Processes, tmp_path: Path
) -> None:
    port = free_port()
    env = {
        "JOBRUNNER_DATABASE_URL": request.getfixturevalue(database),
        "JOBRUNNER_API_KEY": KEY,
        "JOBRUNNER_ALLOW_UNKNOWN_TYPES": "true",  # the fuzzer makes names of types up
    }
    server = processes.start("up", "--port", str(port), env=env, port=port)
    server.wait_healthy()
    fuzzer = str(Path(sys.executable).with_name("st"))
    command = [fuzzer, "--config-file", str(CONFIG), "run", "--no-color"]
    told = subprocess.run(
        [*command, "--max-examples", str(EXAMPLES), "--seed", str(seed), f"{server.url}/api/v1/openapi.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=380,
    )
    summary = told.stdout[told.stdout.rfind("= SUMMARY =") :]
    print(f"FIGURE schemathesis: {' '.join(summary.split())}")
    assert told.returncode == 0, told.stdout[-20_000:] + told.stderr[-2_000:]
    tested = re.search(r"Tested: (\d+)", summary)
    assert tested is not None
    assert int(tested[1]) > 20, summary
    assert server.exit_code is None
    assert '"level": "error"' not in server.errors
