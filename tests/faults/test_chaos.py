"""Chaos by seed: six with ``ci``, sixty with ``long``."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults import chaos
from tests.faults.fleet import LEASE
from tests.faults.plan import FAULTS, SECONDS, Fault, plan
from tests.postgres import PrivateServer

pytestmark = pytest.mark.timeout(400)  # while others have their turn

SEEDS = range(1, 7)
LATEST = 40.0  # seconds until a dead worker's tasks are taken back, whatever else happens, and on a busy machine


@pytest.fixture(autouse=True)
def _one_at_a_time() -> Iterator[None]:
    """Two at once on two cores are too slow to blame anybody."""
    with Path(tempfile.gettempdir(), "jobrunner-chaos.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateServer]:
    """One for all seeds: each has a database of its own, and a crash of it is part of the plan."""
    with PrivateServer() as made:
        yield made


def _prove(seed: int, home: Path, server: PrivateServer) -> None:
    violations, figures = chaos.run(plan(seed, chaos.TASKS, LEASE), home, server)
    print(f"FIGURE chaos, seed {seed}: {figures}")
    assert violations == [], f"replay it: python -m tests.faults.chaos --seed {seed}"
    assert figures["accepted"] > 0
    hit = figures["faults"].total() - figures["faults"]["failpoint"]
    assert hit >= 0.6 * figures["faults planned"], "most of the faults hit nobody"
    assert max(figures["taken back after"], default=0.0) < LATEST


def test_six_seeds_have_every_fault() -> None:
    faults = [fault for seed in SEEDS for fault in plan(seed, chaos.TASKS, LEASE).faults]
    assert {fault.what for fault in faults} == {*FAULTS}
    assert {fault.how.split()[0] for fault in faults if fault.what == "commit"} == {"before", "told", "answered"}
    assert any(":kill:" in fault.how for fault in faults), "somebody dies at a failpoint"


@pytest.mark.ci
@pytest.mark.parametrize("seed", SEEDS)
def test_six_seeds(seed: int, tmp_path: Path, server: PrivateServer) -> None:
    _prove(seed, tmp_path, server)


@pytest.mark.long
@pytest.mark.parametrize("what", ["kill", "child", "restart"])
def test_how_soon_each_fault_is_made_up_for(what: str, tmp_path: Path, server: PrivateServer) -> None:
    """The same fault again and again, with nothing else in its way."""
    every = {"kill": 1.5, "child": 0.5, "restart": 4.0}[what]
    faults = [Fault(1.0 + number * every, what, number) for number in range(int(SECONDS / every))]
    made = replace(plan(7, chaos.TASKS, LEASE), workers=3, faults=faults)
    violations, figures = chaos.run(made, tmp_path, server)
    assert violations == []
    name, within = {
        "kill": ("taken back after", LEASE + 5.0),
        "child": ("crash recorded after", 1.0),
        "restart": ("first claim after", 3.0),
    }[what]
    seen = figures[name]
    print(f"FIGURE {len(faults)} x {what}: {name} {sorted(seen)} s")
    assert len(seen) >= 3, "it hit nobody: the test means nothing"
    assert max(seen) <= within


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1_000, 1_060))
def test_sixty_seeds(seed: int, tmp_path: Path, server: PrivateServer) -> None:
    _prove(seed, tmp_path, server)
