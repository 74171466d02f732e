"""What the tests stand on: a server that can be stopped and killed, and processes that leave nothing behind."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.postgres import PrivateServer
from tests.postgres.server import Mode
from tests.processes import Processes

LOITERER = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print("child", child.pid, flush=True)
{rest}
"""


def test_a_killed_server_keeps_what_was_committed(private_server: PrivateServer) -> None:
    modes: tuple[Mode, ...] = ("fast", "immediate", "kill")
    with psycopg.connect(private_server.url, autocommit=True) as conn:
        conn.execute("CREATE TABLE survivors (mode text)")
    for mode in modes:
        before, url = private_server.pid, private_server.url
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("INSERT INTO survivors VALUES (%s)", [mode])
            private_server.restart(mode)
            with pytest.raises(psycopg.OperationalError):
                conn.execute("SELECT 1")
        assert (private_server.pid != before, private_server.url) == (True, url)
    with psycopg.connect(private_server.url) as conn:
        assert conn.execute("SELECT mode FROM survivors").fetchall() == [(mode,) for mode in modes]


def test_a_stopped_server_refuses_connections(private_server: PrivateServer) -> None:
    private_server.stop()
    assert private_server.pid is None
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(private_server.url, connect_timeout=2)


@pytest.mark.ci
@pytest.mark.parametrize("death", ["os.kill(os.getpid(), 9)", "os._exit(0)"])
def test_a_server_ends_with_the_process_that_owns_it(processes: Processes, death: str) -> None:
    script = "import os\nfrom tests.postgres import PrivateServer\nserver = PrivateServer()\nserver.start()\n"
    script += f"print(server.pid, server.home, server.data, flush=True)\n{death}"
    root = str(Path(__file__).parents[2])
    owner = processes.start_command([sys.executable, "-c", script], env={"PYTHONPATH": root})
    owner.wait()
    pid, home, data = owner.output.split()
    deadline = time.monotonic() + 30
    while psutil.pid_exists(int(pid)) or Path(home).exists() or Path(data).exists():
        assert time.monotonic() < deadline, f"server {pid} or its files {home}, {data} are still there"
        time.sleep(0.05)


def test_a_child_that_outlives_its_process_is_found_and_ended(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    parent = processes.start_command([sys.executable, "-c", LOITERER.format(rest="")])
    child = int(parent.wait_for_line(r"child (\d+)").group(1))
    assert parent.wait() == 0
    (complaint,) = processes.close(leftover_grace=0.2)
    assert f"pid {child}" in complaint
    assert parent.family() == []


def test_a_process_that_ignores_sigterm_is_told_and_ended(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    process = processes.start_command([sys.executable, "-c", deaf])
    process.wait_for_line("deaf")
    (complaint,) = processes.close(grace=0.3)
    assert complaint.startswith("SIGTERM did not end it")
    assert process.exit_code == -signal.SIGKILL


def test_the_environment_of_a_process_is_clean(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_PORT", "1")
    script = "import os; print(sorted(set(os.environ) - {'PATH', 'HOME', 'LANG', 'LC_CTYPE'}))"
    process = processes.start_command([sys.executable, "-c", script], env={"GIVEN": "yes"})
    assert process.wait() == 0
    assert process.output.strip() == "['GIVEN', 'TEST_PROCESS_MARK']"
