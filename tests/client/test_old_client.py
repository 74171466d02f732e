"""An unmodified client of the old system at ``jobrunner up``: with a key, and from a network that is let in."""

from __future__ import annotations

import urllib.error
from pathlib import Path

import pytest

from tests.client.old_client import OldClient, TaskStatus
from tests.client.world import World
from tests.data_import.support import put, records

KEY = "a-long-and-random-key"
DOORS = {
    "key": ({"NODE_API_KEY": KEY}, KEY),
    "network": ({"JOBRUNNER_HOST": "0.0.0.0", "JOBRUNNER_ALLOW_FROM": "127.0.0.0/8"}, None),
}


@pytest.mark.parametrize("door", ["key", pytest.param("network", marks=pytest.mark.ci)])
def test_an_old_client_does_all_that_it_did(world: World, tmp_path: Path, door: str) -> None:
    env, key = DOORS[door]
    vipdoc = tmp_path / "vipdoc"
    for name in ("sz000001.day", "sz000002.day"):
        put(vipdoc, name, records([20240102, 20240103, 20240104]))
    node = world.node("Worker-1", role="up", JOBRUNNER_TDX_ROOT=str(vipdoc), **env)
    assert node.port is not None
    client = OldClient("127.0.0.1", node.port, key, pause=0.05)
    assert client.usable()
    data = {
        "symbols": ["000001.SZ", "000002.SZ"],
        "data_source": "tongdaxin",
        "start_date": "2024-01-01",
        "end_date": "2024-12-31",
    }
    told = client.execute("test_001", "data_import", data)
    assert (told.status, told.error) == (TaskStatus.COMPLETED, None)
    assert told.result is not None
    assert {name: told.result[name] for name in ("task_type", "symbols_count", "imported_count", "total_records")} == {
        "task_type": "data_import",
        "symbols_count": 2,
        "imported_count": 2,
        "total_records": 6,
    }
    assert (told.result["data_source"], told.result["status"]) == ("tongdaxin", "completed")
    missing = client.execute("test_002", "data_import", {"symbols": ["999999.SZ"]}, timeout=30)
    assert missing.status is TaskStatus.FAILED
    assert "999999.SZ" in (missing.error or "")
    assert client.usable(), "its second call to health"
    assert client.stats()["task_stats"]["total_executed"] == 1
    if key:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            OldClient("127.0.0.1", node.port, "not-" + key).usable()
