"""Many at once: streamed or inserted, the rows are the same, all of them or none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, func, select, text
from sqlalchemy.exc import IntegrityError

from jobrunner.db import stream
from jobrunner.db.engine import Database
from jobrunner.db.tables import tasks
from jobrunner.errors import DatabaseUnavailable, InvalidInput, TaskExists, UnknownTaskType
from jobrunner.handlers import registry
from jobrunner.handlers.declare import task
from jobrunner.queue import store
from jobrunner.queue.request import new_id, new_task
from jobrunner.queue.store.enqueue import FEW
from jobrunner.queue.task import NewTask
from jobrunner.submission import Request, submit_many
from tests.both_databases.moves import add, row

LATER = datetime(2031, 3, 30, 0, 30, 0, 123456, tzinfo=UTC)
HARD = 'tab\t newline\n return\r backslash \\ quote " \\N \\. end \x7f 汉字 𝄞'
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"delay": 0.25},
    {"delay": 90 * 86_400.0},
    {"delay": 182 * 86_400.0},
    {"run_at": LATER, "expires_at": LATER + timedelta(days=1)},
    {"queue": "back\\slash", "priority": 1, "timeout": 0.1, "max_attempts": 7},
    {"concurrency_key": "\\N", "parent_id": 2**62, "tags": ["\\t", "é", '"']},
    {"traceparent": HARD},
    {"traceparent": ""},
)


@pytest.fixture(autouse=True)
def _types() -> Iterator[None]:
    with registry.isolated():

        @task("mail", priority=3, timeout=20.0)
        async def mail(to: str, size: int = 0) -> dict[str, Any]:
            return {}

        yield


def wanted() -> list[NewTask]:
    payloads: tuple[dict[str, Any], ...] = ({}, {"b": HARD, "a": [1, 0.5, None]}, {HARD: {"\\": "\\\\n"}}, {"a": 1})
    return [new_task("work\\type", payload, **options) for payload in payloads for options in OPTIONS]


def kept(conn: Connection, new: list[NewTask]) -> list[dict[str, Any]]:
    """Their rows but for what is each row's own; times as distances from the row's making."""
    found = {one.task_id: dict(one._mapping) for one in conn.execute(select(tasks))}
    rows = [found[one.task_id] for one in new]
    for told, one in zip(rows, new, strict=True):
        assert abs((told["created_at"] - datetime.now(UTC)).total_seconds()) < 60
        if one.run_at is None:
            # SQLite's INSERT reads the process's clock for each of the two.
            told["run_at"] = round((told["run_at"] - told["created_at"]).total_seconds(), 2)
        told["payload"], told["tags"] = json.loads(told["payload"]), told["tags"] and json.loads(told["tags"])
        del told["id"], told["task_id"], told["created_at"]
    return rows


def count(database: Database) -> int:
    with database.read() as conn:
        return conn.execute(select(func.count()).select_from(tasks)).scalar_one()


def mails(number: int, **changed: Any) -> list[Request]:
    return [Request("mail", {"to": f"{n}@example.org", "size": n} | changed.get(f"at_{n}", {})) for n in range(number)]


def test_a_row_is_the_same_by_every_way_in(database: Database) -> None:
    streamed = wanted()
    inserted, single = ([one._replace(task_id=new_id()) for one in streamed] for _ in range(2))
    with database.begin() as conn:
        assert len(streamed) > FEW
        told = store.enqueue_many(conn, iter(streamed), fresh=True)
        assert told == [store.Submitted(one.task_id, told[0].status, True) for one in streamed]
        assert [one.task_id for one in store.enqueue_many(conn, inserted)] == [one.task_id for one in inserted]
        assert all(store.enqueue(conn, one).created for one in single)
        assert kept(conn, streamed) == kept(conn, inserted) == kept(conn, single)


def test_ids_follow_the_order_of_the_call(database: Database) -> None:
    with database.begin() as conn:
        told = submit_many(conn, mails(300))
        found = conn.execute(select(tasks.c.task_id).order_by(tasks.c.id)).scalars().all()
    assert found == [one.task_id for one in told]


def test_many_that_need_no_look_are_streamed_and_filled_with_defaults(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = []
    append = stream.append

    def noted(*given: Any) -> None:
        ways.append("stream")
        append(*given)

    monkeypatch.setattr(stream, "append", noted)
    with database.begin() as conn:
        submit_many(conn, mails(FEW))
        assert ways == []
        told = submit_many(conn, [*mails(100), Request("mail", {"to": "x"}, {"queue": "q", "priority": None})])
        assert ways == ["stream"]
        submit_many(conn, [*mails(100), Request("mail", {"to": "x"}, {"task_id": "given"})])
        submit_many(conn, [*mails(100), Request("mail", {"to": "x"}, {"unique_key": "given"})])
        assert ways == ["stream"]
    first, last = row(database, told[0].task_id), row(database, told[-1].task_id)
    assert (first.queue, first.priority, first.timeout, first.status) == ("default", 3, 20.0, "pending")
    assert (last.queue, last.priority, last.timeout) == ("q", 3, 20.0)


@pytest.mark.parametrize("began", [True, False])
def test_a_refusal_in_the_middle_leaves_nothing_and_the_transaction_as_it_was(database: Database, began: bool) -> None:
    broken = mails(1_000, at_700={"size": "many"})
    with database.begin() as conn:
        if began:
            store.enqueue(conn, new_task("work", task_id="before"))
        with pytest.raises(InvalidInput, match="/task_data/size"):
            submit_many(conn, broken)
        with pytest.raises(InvalidInput, match="larger than"):
            submit_many(conn, mails(1_000, at_699={"to": "x" * 300_000}))
        assert len(submit_many(conn, mails(100))) == 100
        store.enqueue(conn, new_task("work", task_id="after"))
    assert count(database) == 101 + began
    assert row(database, "after").status == "pending"


def test_the_first_refusal_in_order_is_told(database: Database) -> None:
    requests = mails(200, at_120={"size": "many"})
    with database.begin() as conn:
        with pytest.raises(InvalidInput, match="/task_data/size"):
            submit_many(conn, [*requests, Request("mial")])
        with pytest.raises(UnknownTaskType, match="did you mean 'mail'"):
            submit_many(conn, [*mails(100), Request("mial"), *requests])
        told = submit_many(conn, [*mails(100), Request("mial", {"x": 1})], allow_unknown=True)
        assert len(told) == 101
    assert count(database) == 101


def test_what_the_database_refuses_leaves_nothing_either(database: Database) -> None:
    bad = [new_task("work") for _ in range(100)]
    bad[70] = bad[70]._replace(priority=11)
    with database.begin() as conn:
        with pytest.raises(IntegrityError):
            store.enqueue_many(conn, bad, fresh=True)
        assert len(store.enqueue_many(conn, [new_task("work") for _ in range(100)], fresh=True)) == 100
    with pytest.raises(IntegrityError), database.begin() as conn:
        store.enqueue(conn, bad[70])
    assert count(database) == 100


def test_one_id_twice_in_a_call_is_one_task_if_the_requests_are_equal(database: Database) -> None:
    twice = [Request("mail", {"to": "x"}, {"task_id": "same"}), *mails(50)] * 2
    with database.begin() as conn:
        told = submit_many(conn, twice)
    assert [one.created for one in told if one.task_id == "same"] == [True, False]
    assert count(database) == 101
    other = [Request("mail", {"to": to}, {"task_id": "other"}) for to in ("x", "y")]
    with pytest.raises(TaskExists), database.begin() as conn:
        submit_many(conn, other)
    assert count(database) == 101


def test_taken_ids_and_open_keys_answer_with_what_stands(database: Database) -> None:
    add(database, "mail", task_id="taken", payload={"to": "x"}, priority=3, timeout=20.0)
    add(database, "mail", task_id="keyed", unique_key="k", payload={"to": "y"})
    requests = [
        *mails(40),
        Request("mail", {"to": "x"}, {"task_id": "taken"}),
        Request("mail", {"to": "z"}, {"unique_key": "k"}),
        Request("mail", {"to": "z"}, {"unique_key": "new"}),
        Request("mail", {"to": "w"}, {"unique_key": "new"}),
    ]
    with database.begin() as conn:
        told = submit_many(conn, requests)
    assert [(one.task_id, one.created) for one in told[40:42]] == [("taken", False), ("keyed", False)]
    assert told[42].created
    assert (told[43].task_id, told[43].created) == (told[42].task_id, False)
    with pytest.raises(TaskExists), database.begin() as conn:
        submit_many(conn, [*mails(40), Request("mail", {"to": "other"}, {"task_id": "taken"})])
    assert count(database) == 43


def test_thousands_of_equal_requests_are_answered_at_once(database: Database) -> None:
    again = [Request("mail", {"to": "x"}, {"task_id": f"t-{n}"}) for n in range(5_000)]
    with database.begin() as conn:
        assert all(one.created for one in submit_many(conn, again))
    with database.begin() as conn:
        assert not any(one.created for one in submit_many(conn, again))
    assert count(database) == 5_000


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_a_callers_own_transaction_keeps_or_undoes_them(postgres_url: str, zone: str) -> None:
    own = create_engine(postgres_url)
    with own.begin() as conn:
        conn.execute(text("CREATE TABLE orders (item text)"))
    with pytest.raises(RuntimeError), own.begin() as conn:
        conn.execute(text("INSERT INTO orders VALUES ('gin')"))
        submit_many(conn, mails(200))
        raise RuntimeError
    with own.connect() as conn:  # as you go: the first statement begins, the caller commits
        submit_many(conn, mails(100))
        conn.commit()
        submit_many(conn, mails(50))
        conn.rollback()
        submit_many(conn, mails(1))
        conn.commit()
        assert conn.execute(select(func.count()).select_from(tasks)).scalar_one() == 101
        assert conn.execute(text("SELECT count(*) FROM orders")).scalar_one() == 0
        conn.rollback()
        conn.execute(text(f"SET timezone = '{zone}'"))
        new = wanted()
        store.enqueue_many(conn, new, fresh=True)
        found = select(tasks.c.run_at - tasks.c.created_at).where(tasks.c.task_type == "work\\type")
        distances = conn.execute(found.where(tasks.c.expires_at.is_(None)).distinct()).scalars()
        assert sorted(each.total_seconds() for each in distances) == [0.0, 0.25, 90 * 86_400.0, 182 * 86_400.0]
    own.dispose()


def test_in_autocommit_each_call_is_all_or_none(postgres_url: str) -> None:
    own = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with own.connect() as conn:
        submit_many(conn, mails(100))
        with pytest.raises(InvalidInput):
            submit_many(conn, mails(200, at_150={"size": "many"}))
        submit_many(conn, mails(1))
    with own.connect() as conn:
        assert conn.execute(select(func.count()).select_from(tasks)).scalar_one() == 101
    own.dispose()


def test_a_connection_that_dies_on_the_way_is_an_outage(postgres_url: str) -> None:
    database = Database(postgres_url)

    def dying(pid: int) -> Iterator[NewTask]:
        for number in range(1_000):
            if number == 500:
                with database.begin() as other:
                    other.execute(text(f"SELECT pg_terminate_backend({pid}, 5000)"))
            yield new_task("work")

    with pytest.raises(DatabaseUnavailable), database.begin() as conn:
        pid = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
        store.enqueue_many(conn, dying(pid), fresh=True)
    with database.begin() as conn:
        assert len(store.enqueue_many(conn, [new_task("work") for _ in range(100)], fresh=True)) == 100
    assert count(database) == 100
    with pytest.raises(DatabaseUnavailable), database.single() as conn:
        pid = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with database.begin() as other:
            other.execute(text(f"SELECT pg_terminate_backend({pid}, 5000)"))
        store.enqueue(conn, new_task("work"))
    with database.single() as conn:
        assert store.enqueue(conn, new_task("work")).created
    database.dispose()


@pytest.mark.parametrize("count", [1, 100])
def test_a_server_that_was_demoted_is_left(postgres_url: str, count: int) -> None:
    database = Database(postgres_url, pool_size=1)
    with database.begin() as conn:
        conn.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))
    with pytest.raises(DatabaseUnavailable), database.begin() as conn:
        submit_many(conn, mails(count))
    with database.begin() as conn:
        assert len(submit_many(conn, mails(count))) == count
    database.dispose()
