"""Keys and TLS over real processes: a port beyond this machine, and a revocation that every node obeys."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import time
from pathlib import Path

import httpx2
import pytest

from jobrunner.client.bridge import DistributedBridge
from jobrunner.client.bridge_values import TaskResult
from jobrunner.client.errors import NotTaken
from jobrunner.db.engine import open_database
from jobrunner.queue import store
from jobrunner.settings import Settings
from tests.certificates import self_signed
from tests.data_import.support import put, records
from tests.processes import Processes, free_port

SOON = 5.0  # seconds in which a revoked key opens nothing any more


def issue(url: str, *scopes: str) -> tuple[str, str]:
    opened = open_database(url)
    with opened.begin() as conn:
        issued = store.issue_key(conn, "-".join(scopes), scopes)
    opened.dispose()
    return issued.id, issued.text


def test_a_port_beyond_this_machine_opens_once_there_is_a_key(postgres_url: str, processes: Processes) -> None:
    port = free_port()
    env = {"JOBRUNNER_DATABASE_URL": postgres_url}
    closed = processes.start("api", "--host", "0.0.0.0", "--port", str(port), env=env)
    assert closed.wait(20) == 2
    assert "jobrunner keys create" in closed.errors
    _, admin = issue(postgres_url, "admin")
    opened = processes.start("api", "--host", "0.0.0.0", "--port", str(port), env=env, port=port)
    other = processes.start("api", "--port", str(free_port()), env=env)
    opened.wait_healthy()
    assert other.exit_code is None
    assert httpx2.get(f"{opened.url}/api/v1/tasks").status_code == 401
    assert httpx2.get(f"{opened.url}/api/v1/tasks", headers={"x-api-key": admin}).status_code == 200


@pytest.mark.ci
def test_a_revoked_key_opens_nothing_within_five_seconds_on_another_node(
    postgres_url: str, processes: Processes
) -> None:
    ports = [free_port(), free_port()]
    env = {"JOBRUNNER_DATABASE_URL": postgres_url}
    _, admin = issue(postgres_url, "admin")
    headers = {"x-api-key": admin}
    nodes = [processes.start("api", "--port", str(port), env=env, port=port) for port in ports]
    for node in nodes:
        node.wait_healthy()
    made = httpx2.post(f"{nodes[0].url}/api/v1/keys", json={"name": "x", "scopes": ["read"]}, headers=headers).json()
    reader = {"authorization": f"Bearer {made['key']}"}
    deadline = time.monotonic() + SOON
    while httpx2.get(f"{nodes[1].url}/api/v1/tasks", headers=reader).status_code != 200:
        assert time.monotonic() < deadline, "a new key opens every node"
        time.sleep(0.1)
    assert httpx2.delete(f"{nodes[0].url}/api/v1/keys/{made['id']}", headers=headers).status_code == 204
    began = time.monotonic()
    while httpx2.get(f"{nodes[1].url}/api/v1/tasks", headers=reader).status_code != 401:
        assert time.monotonic() < began + SOON
        time.sleep(0.1)
    print(f"FIGURE revoked on another node after {time.monotonic() - began:.1f} s")


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A key and a certificate for 127.0.0.1, made now."""
    return self_signed(tmp_path)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="a certificate is made with openssl, which is not here")
def test_tls_by_the_flags_of_the_guide(
    sqlite_url: str, certificate: tuple[Path, Path], processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, chain = certificate
    port = free_port()
    flags = ("--ssl-keyfile", str(key), "--ssl-certfile", str(chain))
    put(key.parent / "vipdoc", "sz000001.day", records([20240102]))
    env = {"JOBRUNNER_DATABASE_URL": sqlite_url, "JOBRUNNER_TDX_ROOT": str(key.parent / "vipdoc")}
    server = processes.start("up", "--port", str(port), *flags, env=env)
    url, deadline = f"https://127.0.0.1:{port}", time.monotonic() + 30
    with httpx2.Client(verify=ssl.create_default_context(cafile=str(chain))) as client:
        while True:
            try:
                assert client.get(f"{url}/api/v1/health").json()["status"] == "healthy"
                break
            except httpx2.TransportError:
                assert time.monotonic() < deadline, server.errors
                assert server.exit_code is None, server.errors
                time.sleep(0.1)
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"http://127.0.0.1:{port}/healthz")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(NotTaken, match=r"node: cannot be reached .*CERTIFICATE_VERIFY_FAILED"):
        _by_bridge(port)
    with pytest.raises(NotTaken, match=r"node: speaks TLS, and is asked in plain HTTP: add it with https=True"):
        _by_bridge(port, https=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(chain))
    told = _by_bridge(port)
    assert (told.status, told.node_id) == ("completed", "node")


def _by_bridge(port: int, *, https: bool = True) -> TaskResult:
    """An import of one day by the bridge, over TLS unless it is told otherwise."""
    bridge = DistributedBridge(Settings(data_dir=Path("/nowhere")))
    bridge.add_node("node", "127.0.0.1", port, https=https)
    return asyncio.run(bridge.execute_task("t", "data_import", {"symbols": ["000001.SZ"]}, timeout=20))
