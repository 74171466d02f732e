"""Renewing, releasing and reclaiming."""

from __future__ import annotations

from dataclasses import replace

from jobrunner.db.engine import Database
from jobrunner.queue import store
from jobrunner.queue.task import LOSS_BUDGET, Status
from tests.both_databases.moves import LEASE, add, age_lease, change, end, left, reclaim, row, take


def test_renewing_prolongs_only_what_is_still_held(database: Database) -> None:
    for name in ("kept", "lost", "ended"):
        add(database, task_id=name)
    tasks = {task.task_id: task for task in take(database)}
    age_lease(database, "lost", 1)
    reclaim(database)
    end(database, tasks["ended"])
    with database.begin() as conn:
        told = store.renew(conn, [task.lease for task in tasks.values()], 500.0)
    assert told.renewed == {tasks["kept"].lease}
    assert told.lost == {tasks["lost"].lease, tasks["ended"].lease}
    found = row(database, "kept")
    assert 490 < (found.lease_until - found.started_at).total_seconds() < 520


def test_a_late_renewal_with_the_current_token_succeeds(database: Database) -> None:
    add(database, task_id="t")
    task = take(database)[0]
    age_lease(database, "t", 3600)
    with database.begin() as conn:
        assert store.renew(conn, [task.lease], LEASE).renewed == {task.lease}
    assert reclaim(database) == []


def test_a_renewal_with_another_token_is_lost(database: Database) -> None:
    add(database, task_id="t")
    lease = replace(take(database)[0].lease, token="f" * 32)
    until = row(database, "t").lease_until
    with database.begin() as conn:
        told = store.renew(conn, [lease], 2 * LEASE)
    assert not told.renewed
    assert told.lost == {lease}
    assert row(database, "t").lease_until == until, "a dead owner would keep what a stranger renews"


def test_a_renewal_tells_of_a_cancel(database: Database) -> None:
    add(database, task_id="t")
    task = take(database)[0]
    with database.begin() as conn:
        store.cancel(conn, "t")
        told = store.renew(conn, [task.lease], LEASE)
    assert told.cancelled == {task.lease}


def test_only_stale_leases_are_reclaimed(database: Database) -> None:
    for name in ("stale", "alive"):
        add(database, task_id=name)
    take(database)
    age_lease(database, "stale", 1)
    assert reclaim(database) == ["stale"]
    found = row(database, "stale")
    assert (found.status, found.losses, found.failures, found.token) == ("pending", 1, 0, None)
    assert [(one.outcome, one.node_id) for one in left(database, "stale")] == [("lost", "node-a")]


def test_a_task_with_one_try_survives_dead_nodes_until_the_loss_budget_is_spent(database: Database) -> None:
    add(database, task_id="t", max_attempts=1)
    for spent in range(1, LOSS_BUDGET + 1):
        assert len(take(database)) == 1
        age_lease(database, "t", 1)
        assert reclaim(database) == ["t"]
        assert row(database, "t").losses == spent
    found = row(database, "t")
    assert (found.status, found.error) == ("failed", f"its node died {LOSS_BUDGET} times")


def test_a_lost_task_whose_cancel_was_asked_ends(database: Database) -> None:
    add(database, task_id="t")
    take(database)
    with database.begin() as conn:
        store.cancel(conn, "t")
    age_lease(database, "t", 1)
    reclaim(database)
    assert row(database, "t").status == "cancelled"


def test_all_leases_go_to_who_knows_to_be_alone(database: Database) -> None:
    add(database, task_id="t")
    take(database)
    with database.begin() as conn:
        assert [one.status for one in store.reclaim(conn, all_leases=True)] == [Status.PENDING]


def test_a_release_charges_nothing_and_leaves_a_row(database: Database) -> None:
    add(database, task_id="t", max_attempts=1)
    task = take(database)[0]
    with database.begin() as conn:
        assert store.release(conn, [task], "draining") == [task.lease.id]
        assert store.release(conn, [task], "draining") == []
    found = row(database, "t")
    assert (found.status, found.failures, found.releases, found.attempt) == ("pending", 0, 1, 1)
    assert [(one.outcome, one.error) for one in left(database, "t")] == [("released", "draining")]
    assert take(database)[0].lease.attempt == 2, "the attempt never falls"


def test_holds_is_true_only_for_the_owner(database: Database) -> None:
    add(database, task_id="t")
    task = take(database)[0]
    with database.begin() as conn:
        assert store.holds(conn, task.lease)
        assert not store.holds(conn, replace(task.lease, token="0" * 32))
        change(conn, "t", status="pending", token=None, lease_until=None)
        assert not store.holds(conn, task.lease)
