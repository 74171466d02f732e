"""Which nodes the bridge finds, which it may not use, and what an address may look like."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import httpx2
import pytest

import jobrunner.bridge
from jobrunner.client.bridge import DistributedBridge, get_distributed_bridge
from jobrunner.client.errors import NotTaken
from jobrunner.errors import InvalidInput, SettingsError
from jobrunner.handlers import registry
from jobrunner.handlers.declare import task
from jobrunner.settings import load
from jobrunner.settings.nodes import NodeAddress, parse_node
from tests.client.cutting import Cutting
from tests.client.world import World
from tests.processes import Processes

KEY = "a-long-and-random-key"


def mark(bridge: DistributedBridge, world: World, name: str, timeout: float = 20) -> tuple[str, str | None]:
    call = bridge.execute_task(task_id=name, task_type="mark", task_data=world.mark(name), timeout=timeout)
    told = asyncio.run(call)
    return str(told.status), told.node_id


def test_a_wrong_key_is_told_and_never_taken_for_no_node(world: World) -> None:
    port = world.node("Worker-1", JOBRUNNER_API_KEY=KEY).port
    assert port is not None
    bridge = world.bridge()
    bridge.add_node("locked", "localhost", port, api_key="not-" + KEY)
    assert not bridge.has_available_nodes()
    with pytest.raises(NotTaken, match=r"locked: answers 401 .this key is not known here"):
        mark(bridge, world, "t")
    bridge.add_node("locked", "localhost", port)
    with pytest.raises(NotTaken, match=r"locked: answers 401 .a key is needed"):
        mark(bridge, world, "t")
    bridge.add_node("locked", "localhost", port, api_key=KEY, https=True)
    with pytest.raises(NotTaken, match=r"locked: cannot be reached .*SSL"):  # it speaks no TLS
        mark(bridge, world, "t")
    with pytest.raises(InvalidInput, match="an api_key is printable ASCII"):
        bridge.add_node("locked", "localhost", port, api_key="a key\n")
    bridge.add_node("locked", "localhost", port, api_key=KEY)
    assert mark(bridge, world, "t") == ("completed", "locked")
    bridge.add_node("other", "localhost", port, api_key="not-" + KEY)
    assert mark(bridge, world, "u") == ("completed", "locked"), "one that lets us in is enough"
    assert not (world.home / "own").exists()


def test_a_key_of_named_queues_is_served_as_any_other(world: World) -> None:
    node = world.node("Worker-1", JOBRUNNER_API_KEY=KEY)
    wish = {"name": "of one queue", "scopes": ["read", "submit"], "queues": ["default"]}
    made = httpx2.post(f"{node.url}/api/v1/keys", json=wish, headers={"X-API-Key": KEY}, timeout=10)
    assert node.port is not None
    with Cutting(node.port) as cut:
        bridge = world.bridge()
        bridge.add_node("node", "127.0.0.1", cut.port, api_key=made.json()["key"])
        assert mark(bridge, world, "t") == ("completed", "node")
        assert sum(line.startswith(b"POST") for line in cut.seen) == 2, "its lost answer is asked for again"
    assert world.lines("t", "begin") == 1


def test_nodes_that_are_not_healthy_get_nothing(world: World) -> None:
    with registry.isolated():

        @task("mark")
        async def here(ledger: str, name: str, seconds: float = 0.0) -> None: ...

        node = world.node("Worker-1", JOBRUNNER_MAX_MEMORY_MB="1")
        node.wait_for_line("ready")
        bridge = world.bridge(node)
        assert bridge.get_available_nodes() == []
        try:
            assert mark(bridge, world, "t") == ("completed", None)
        finally:
            bridge.close()
    assert world.lines("t", "begin") == 0


def test_nodes_come_from_the_environment_and_the_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = world.node("Worker-1", JOBRUNNER_API_KEY=KEY), world.node("Worker-2", JOBRUNNER_API_KEY="other-" + KEY)
    entry = {"node_id": "second", "host": "127.0.0.1", "port": two.port, "api_key": "other-" + KEY}
    (world.home / "node_config.json").write_text(json.dumps({"nodes": [f"first=localhost:{one.port}", entry]}))
    monkeypatch.chdir(world.home)
    monkeypatch.setenv("NODE_API_KEY", KEY)
    bridge = get_distributed_bridge()
    try:
        assert get_distributed_bridge() is bridge
        assert {node.node_id for node in bridge.get_available_nodes()} == {"first", "second"}
        bridge.remove_node("second")
        assert mark(bridge, world, "t") == ("completed", "first")
    finally:
        bridge.close()
    monkeypatch.setenv("JOBRUNNER_NODES", f"localhost:{one.port}")
    fresh = get_distributed_bridge()
    try:
        assert fresh is not bridge
        assert [node.node_id for node in fresh.get_available_nodes()] == [f"localhost:{one.port}"]
        fresh.distributed = False
        assert not fresh.has_available_nodes()
    finally:
        fresh.close()
    monkeypatch.setenv("JOBRUNNER_DISTRIBUTED", "false")
    off = get_distributed_bridge()
    assert not off.has_available_nodes()
    off.close()


def test_nodes_of_a_shared_database_take_what_is_put_into_it(world: World, postgres_url: str) -> None:
    with registry.isolated():
        node = world.node("Worker-1", url=postgres_url)
        bridge = world.bridge(database_url=postgres_url)
        try:
            (found,) = bridge.get_available_nodes()
            assert (found.node_name, found.address, found.status) == ("Worker-1", None, "healthy")
            assert mark(bridge, world, "t") == ("completed", None)
            assert world.lines("t") == 1
            bridge.add_node("named", "127.0.0.1", node.port or 0)
            assert [one.node_id for one in bridge.get_available_nodes()] == ["named"], "it is one node, not two"
            assert mark(bridge, world, "u") == ("completed", "named")
        finally:
            bridge.close()


def test_a_database_whose_node_died_is_worked_off_here(world: World, postgres_url: str) -> None:
    with registry.isolated():

        @task("mark")
        async def here(ledger: str, name: str, seconds: float = 0.0) -> str:
            return "here"

        node = world.node("Worker-1", url=postgres_url, JOBRUNNER_HEARTBEAT_INTERVAL="1")
        node.kill()  # its row says for three heartbeats that it lives
        bridge = world.bridge(database_url=postgres_url)
        try:
            assert mark(bridge, world, "t") == ("completed", None)
        finally:
            bridge.close()


def test_the_process_that_owns_our_file_is_a_node(world: World) -> None:
    node = world.node("own", role="up")
    bridge = world.bridge()
    (found,) = bridge.get_available_nodes()
    assert (found.node_id, found.address) == ("owner", node.url)
    assert mark(bridge, world, "t") == ("completed", "owner")
    node.stop()


SCRIPT = """
import asyncio
from jobrunner.bridge import get_distributed_bridge

bridge = get_distributed_bridge()
def run(name):
    data = {"ledger": "ledger", "name": name}
    return asyncio.run(bridge.execute_task(task_id=name, task_type="mark", task_data=data, timeout=20))

for name in ("one", "two"):
    result = run(name)
    print(result.status, result.result, flush=True)
"""
FORKING = """
import os, sys, warnings
from jobrunner.errors import DatabaseLocked
from jobrunner.queue import views
from jobrunner.runtime import embedded

warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of every fork beside threads
embedded.PATIENCE = 0.0
if not (copy := os.fork()):
    assert get_distributed_bridge() is not bridge
    try:
        run("three")
    except DatabaseLocked:
        bridge.close()
        sys.exit()
    sys.exit(3)
print("the copy ended with", os.waitpid(copy, 0)[1])
with bridge._router._home._embedded.database.read() as conn:
    print(sum(node.alive for node in views.all_nodes(conn)), "node lives")
"""


def test_a_script_that_forgets_to_close_ends_well_and_leaves_nothing(world: World, processes: Processes) -> None:
    done = "completed {'name': 'one'}\ncompleted {'name': 'two'}\n"
    for script, told in ((SCRIPT, ""), (SCRIPT + FORKING, "the copy ended with 0\n1 node lives\n")):
        (world.home / "script.py").write_text(script)
        process = processes.start_command([sys.executable, "script.py"], env=world.env("script"))
        assert process.wait(20) == 0, process.tail()
        assert process.output == done + told
        assert process.errors == ""
    assert world.lines("one") == 1, "the second run asked after the same tasks"


@pytest.mark.parametrize(
    ("host", "port", "told"),
    [
        ("", 8900, "a host is a name or an address, not ''"),
        ("[::1]", 8900, "write the address ::1 without brackets"),
        ("fe80::1%eth0", 8900, "has a zone, which means nothing on other machines"),
        ("http://10.0.0.1", 8900, "give host and port apart, and no URL"),
        ("localhost:8900", 8900, "give host and port apart"),
        ("a b", 8900, "'a b' is no host name and no address"),
        ("a/b", 8900, "is no host name"),
        ("user@host", 8900, "is no host name"),
        ("节点", 8900, "write the host in ASCII"),
        ("x" * 300, 8900, "is no host name"),
        ("localhost", 0, "a port is a whole number from 1 to 65535, not 0"),
        ("localhost", True, "a port is a whole number"),
        ("localhost", 65_536, "a port is a whole number"),
    ],
)
def test_addresses_that_lead_nowhere_are_refused_with_a_sentence(host: str, port: int, told: str) -> None:
    with pytest.raises(InvalidInput, match="the node is refused") as found:
        DistributedBridge(World.settings()).add_node("node_001", host, port)
    assert told in str(found.value)


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("localhost:8900", "http://localhost:8900"),
        ("worker-1=10.0.0.7", "http://10.0.0.7:8900"),
        ("https://node.example.org:443/", "https://node.example.org:443"),
        ("[::1]:8901", "http://[::1]:8901"),
        ("my_node:80", "http://my_node:80"),
    ],
)
def test_addresses_as_people_write_them(written: str, url: str) -> None:
    assert parse_node(written).url == url


def test_an_ipv6_address_is_an_address() -> None:
    assert NodeAddress("n", "2001:db8::1", 8900).url == "http://[2001:db8::1]:8900"


@pytest.mark.parametrize("nodes", ["one:8900,one:8900", "::1", "a b", "http://x/y"])
def test_a_list_of_nodes_that_makes_no_sense_ends_the_start(nodes: str) -> None:
    with pytest.raises(SettingsError, match=r"nodes \(env JOBRUNNER_NODES\)"):
        load(environ={"JOBRUNNER_NODES": nodes}, config=None)


def test_the_old_name_hands_on_what_the_client_defines() -> None:
    assert jobrunner.bridge.get_distributed_bridge is get_distributed_bridge
    assert set(jobrunner.bridge.__all__) >= {"TaskResult", "OutcomeUnknown"}
    assert Path(jobrunner.bridge.__file__).read_text().count("\n") < 30
