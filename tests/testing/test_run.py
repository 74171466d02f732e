"""``run``: one attempt in this process, with the verdict of a worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import Connection, create_engine, text

from jobrunner import Cancel, Context, InvalidInput, LeaseLost, Retry, RetryLater, effect, task
from jobrunner.errors import HandlerError
from jobrunner.queue.task import Ending, Status
from jobrunner.testing import Clock, RehearsalError, call, run
from jobrunner.testing.telling import Told


class Order(BaseModel):
    item: str
    count: int = 1


@effect("run add")
def add(conn: Connection, rows: list[Any]) -> int:
    conn.execute(text("INSERT INTO lines (name) VALUES (:name)"), [{"name": name} for name in rows])
    return len(rows)


@effect("run fail")
def fail(conn: Connection, rows: list[Any]) -> None:
    raise ValueError("no such shelf")


@task("run order")
def order(given: Order) -> dict[str, int]:
    return {given.item: given.count}


@task("run add lines", max_attempts=3, retry=Retry(base=5, factor=2))
def add_lines(names: list[str], ctx: Context) -> Any:
    ctx.progress(0.5, "half way")
    ctx.log("added", count=len(names))
    found = ctx.apply(add, names)
    ctx.on_complete(add, ["end"])
    return found


@task("run raise", max_attempts=3, retry=Retry(base=5, factor=2))
def raises(what: str) -> None:
    raise {
        "later": RetryLater(90, "closed"),
        "cancel": Cancel("not wanted"),
        "input": InvalidInput("no such month"),
        "error": ValueError("boom"),
        "exit": SystemExit(3),
    }[what]


@task("run until cancelled")
def until_cancelled(ctx: Context, most: int = 100) -> int:
    for number in range(most):
        if ctx.cancelled:
            ctx.log(f"ended after {number}")
            return number
        ctx.progress(number / most)
    return most


@task("run async")
async def in_loop(ctx: Context, *, block: bool) -> Any:
    if block:
        return ctx.apply(add, ["tea"])
    return await asyncio.to_thread(ctx.apply, add, ["tea"])


@task("run transaction")
def in_transaction(ctx: Context) -> str:
    with ctx.transaction() as tx:
        add(tx.conn, ["tea"])
        ctx.on_complete(add, ["end"])
        tx.complete({"done": True})
    return "not the result"


@task("run fails in the end")
def fails_in_the_end(ctx: Context) -> None:
    ctx.on_complete(fail, [])


@task("run in the end")
def in_the_end(ctx: Context) -> None:
    ctx.on_complete(add, ["end"])


@effect("run add, then fail")
def add_then_fail(conn: Connection, rows: list[Any]) -> None:
    add(conn, rows)
    raise ValueError("no such shelf")


@task("run failing effects")
def failing_effects(ctx: Context, where: str) -> None:
    if where == "at the end":
        ctx.on_complete(add, ["jam"])
        ctx.on_complete(add_then_fail, ["tea"])
    elif where == "applied":
        ctx.apply(add_then_fail, ["tea"])
    else:
        with ctx.transaction() as tx:
            add_then_fail(tx.conn, ["tea"])


@task("run talk")
def talk(ctx: Context) -> None:
    logging.getLogger("shop").warning("low on %s", "tea")
    call("mail", "ann", key="one")
    call("mail", "bob")


@task("run rows")
def rows(where: str, ctx: Context) -> None:
    odd: Any = {"set": [{1}], "object": [{"name": object()}], "json": ["tea"]}[where.partition(" ")[2]]
    (ctx.apply if where.startswith("applied") else ctx.on_complete)(add, odd)


@effect("run add and end")
def add_and_end(conn: Connection, rows: list[Any]) -> None:
    add(conn, ["tea"])
    (conn.commit if rows == ["commit"] else conn.rollback)()


@task("run ends")
def ends(where: str, how: str, ctx: Context) -> None:
    if where == "transaction":
        with ctx.transaction() as tx:
            add_and_end(tx.conn, [how])
    else:
        (ctx.apply if where == "applied" else ctx.on_complete)(add_and_end, [how])


@pytest.fixture
def conn() -> Iterator[Connection]:
    with create_engine("sqlite://").begin() as opened:
        opened.execute(text("CREATE TABLE lines (name TEXT NOT NULL)"))
        yield opened


def _lines(conn: Connection) -> list[str]:
    return list(conn.execute(text("SELECT name FROM lines")).scalars())


def test_a_task_that_completes() -> None:
    ran = run("run order", {"item": "tea", "count": 2})
    assert (ran.status, ran.ending, ran.result) == ("completed", Ending.COMPLETED, {"tea": 2})
    assert (ran.error, ran.delay, ran.retries) == (None, None, False)
    assert run(order, {"item": "tea"}).result == {"tea": 1}


def test_refused_arguments_are_never_retried() -> None:
    ran = run(order, {"item": "tea", "colour": "green"})
    assert (ran.status, ran.ending, ran.delay) == (Status.FAILED, Ending.REFUSED, None)
    assert ran.error is not None
    assert "/task_data/colour: unknown argument; known: item, count" in ran.error
    assert run(order, {"item": float("nan")}).ending is Ending.REFUSED


def test_a_failure_is_retried_until_the_budget_is_spent() -> None:
    found = [run(raises, {"what": "error"}, attempt=attempt) for attempt in (1, 2, 3)]
    assert [(ran.status, ran.delay) for ran in found] == [("pending", 5), ("pending", 10), ("failed", None)]
    assert [ran.retries for ran in found] == [True, True, False]
    assert (found[0].error, found[0].error_class) == ("ValueError: boom", "ValueError")
    assert "test_run.py" in (found[0].traceback or "")
    assert run(raises, {"what": "error"}, max_attempts=1).status == "failed"


@pytest.mark.parametrize(
    ("what", "status", "ending", "delay"),
    [
        ("later", "pending", Ending.RETRY_LATER, 90),
        ("cancel", "cancelled", Ending.CANCELLED, None),
        ("input", "failed", Ending.REFUSED, None),
        ("exit", "pending", Ending.ERROR, 5),
    ],
)
def test_what_a_handler_raises_is_a_verdict(what: str, status: str, ending: Ending, delay: float | None) -> None:
    ran = run(raises, {"what": what})
    assert (ran.status, ran.ending, ran.delay) == (status, ending, delay)


def test_all_that_was_told_is_there_with_the_time_of_the_clock() -> None:
    clock = Clock(datetime(2026, 3, 1, tzinfo=UTC))
    ran = run(add_lines, {"names": ["tea", "jam"]}, clock=clock, answers={add: 2})
    assert ran.result == 2
    assert ran.progress == ((clock.now, 0.5, "half way"),)
    assert [(line.at, line.level, line.message, line.fields) for line in ran.logs] == [
        (clock.now, "info", "added", {"count": 2})
    ]
    assert ran.applied == (("run add", ["tea", "jam"]),)
    assert ran.on_complete == (("run add", ["end"]),)


def test_the_clock_stands_until_it_is_moved() -> None:
    clock = Clock()
    begun = clock.now

    def answer(rows: list[Any]) -> int:
        clock.advance(30)
        return len(rows)

    run(add_lines, {"names": ["tea"]}, clock=clock, answers={"run add": answer})
    assert clock.now - begun == timedelta(seconds=60), "its line is applied, and its end asked for"
    clock.set(datetime.fromisoformat("2026-01-01T08:00:00+08:00"))
    assert clock.now == datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="say its zone"):
        clock.set(datetime(2026, 1, 1))


def test_an_answer_may_be_an_error() -> None:
    def lost(rows: list[Any]) -> None:
        raise LeaseLost("another attempt owns the task")

    ran = run(add_lines, {"names": ["tea"]}, answers={add: lost})
    assert (ran.status, ran.ending, ran.error_class) == ("pending", Ending.ERROR, "jobrunner.errors.LeaseLost")
    assert "cannot be told to its handler" in (run(add_lines, {"names": []}, answers={add: object()}).error or "")


def test_an_answer_that_raises_fails_what_completes_too() -> None:
    def broken(rows: list[Any]) -> None:
        raise ValueError(f"no shelf for {rows}")

    ran = run(add_lines, {"names": ["tea"]}, answers={add: broken})
    assert (ran.status, ran.error) == ("pending", "no shelf for ['tea']")
    ran = run(in_the_end, answers={add: broken})
    assert (ran.status, ran.error) == ("pending", "no shelf for ['end']")
    assert run(in_the_end, answers={add: 1}).status == "completed"


def test_a_payload_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(TypeError, match="by name, not 'tea'"):
        run(order, "tea")  # type: ignore[arg-type]  # what a caller without a type checker may give


def test_effects_run_on_a_connection_of_the_test(conn: Connection) -> None:
    ran = run(add_lines, {"names": ["tea", "jam"]}, conn=conn)
    assert ran.result == 2
    assert _lines(conn) == ["tea", "jam", "end"]


def test_what_completes_runs_only_when_it_completes(conn: Connection) -> None:
    ran = run(add_lines, {"names": ["tea"]}, conn=conn, cancelled=True)
    assert ran.status == "cancelled"
    assert _lines(conn) == ["tea"]
    ran = run(fails_in_the_end, conn=conn)
    assert (ran.status, ran.error) == ("pending", "no such shelf")
    assert run(fails_in_the_end).status == "completed"


def test_a_transaction_of_its_own(conn: Connection) -> None:
    ran = run(in_transaction, conn=conn)
    assert (ran.status, ran.result) == ("completed", {"done": True})
    assert _lines(conn) == ["tea", "end"]
    assert "give run(...) a conn" in (run(in_transaction).error or "")


@pytest.mark.parametrize("where", ["at the end", "applied", "in its own transaction"])
def test_what_a_failed_effect_wrote_is_undone_and_the_rest_is_the_callers(where: str) -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as conn:
        conn.execute(text("CREATE TABLE lines (name TEXT NOT NULL)"))
        conn.commit()
        assert run(add_lines, {"names": ["tea"]}, conn=conn).status == "completed"
        conn.rollback()
        assert _lines(conn) == [], "what went well is committed by the caller alone"
        ran = run(failing_effects, {"where": where}, conn=conn)
        assert (ran.status, ran.error) == ("pending", "no such shelf")
        assert _lines(conn) == []


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_connection_that_commits_by_itself_is_refused(request: pytest.FixtureRequest, kind: str) -> None:
    url = request.getfixturevalue(f"{kind}_url")
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as conn:
        assert run(order, {"item": "tea"}, conn=conn).status == "completed"
        conn.rollback()
        with pytest.raises(HandlerError, match="commits each statement by itself"):
            run(order, {"item": "tea"}, conn=conn.execution_options(isolation_level="AUTOCOMMIT"))
    engine.dispose()


def test_a_cancel_from_now_on_is_seen() -> None:
    def asked(told: Told) -> bool:
        return len(told.progress) >= 3

    ran = run(until_cancelled, cancelled=asked)
    assert [line.message for line in ran.logs] == ["ended after 3"]
    assert (ran.status, ran.ending, ran.error) == ("cancelled", Ending.CANCELLED, "cancelled while it ran")
    assert run(until_cancelled, {"most": 2}, cancelled=asked).result == 2


def test_an_async_task_runs_also_inside_a_loop() -> None:
    assert run(in_loop, {"block": False}, answers={add: 7}).result == 7
    assert "await asyncio.to_thread(ctx.apply, ...)" in (run(in_loop, {"block": True}).error or "")

    async def inside() -> Any:
        return run(in_loop, {"block": False}, answers={add: 8}).result

    assert asyncio.run(inside()) == 8


def test_logging_and_calls_are_kept() -> None:
    ran = run(talk)
    assert [(line.level, line.message, line.fields) for line in ran.logs] == [
        ("warning", "low on tea", {"logger": "shop"})
    ]
    assert [str(one) for one in ran.calls] == ["mail('ann') with key 'one'", "mail('bob')"]
    with pytest.raises(RehearsalError, match="nobody listens"):
        call("mail", "ann")


def test_what_is_not_registered_is_refused() -> None:
    with pytest.raises(HandlerError, match="no handler 'run unknown'"):
        run("run unknown")
    with pytest.raises(HandlerError, match="is no handler"):
        run(print)
    with pytest.raises(HandlerError, match="no effect 'run unknown'"):
        run(talk, answers={"run unknown": 1})


@pytest.mark.parametrize("where", ["applied", "deferred"])
def test_rows_that_are_no_json_fail_as_in_a_worker(conn: Connection, where: str) -> None:
    """A worker's words for the same stand in tests/execution/test_effects.py."""
    for what in ("set", "object"):
        for given in (None, conn):
            ran = run(rows, {"where": f"{where} {what}"}, conn=given)
            assert (ran.status, ran.error_class) == ("pending", "TypeError")
            assert ran.error == f"Object of type {what} is not JSON serializable"
    assert run(rows, {"where": f"{where} json"}, conn=conn).status == "completed"
    assert _lines(conn) == ["tea"]


@pytest.mark.parametrize("where", ["applied", "deferred", "transaction"])
@pytest.mark.parametrize("how", ["commit", "rollback"])
def test_who_ends_the_transaction_fails_and_leaves_nothing(where: str, how: str) -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as conn:
        conn.execute(text("CREATE TABLE lines (name TEXT NOT NULL)"))
        conn.commit()
        ran = run(ends, {"where": where, "how": how}, conn=conn)
        assert (ran.status, ran.error_class) == ("pending", "jobrunner.errors.HandlerError")
        assert "would have ended jobrunner's transaction" in (ran.error or "")
        assert _lines(conn) == []
        conn.commit()
        assert _lines(conn) == []


def test_arguments_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="count from 1, so there is none of number 0"):
        run(talk, attempt=0)
    with pytest.raises(TypeError, match=r"cancelled is True, False or a function .* not 'yes'"):
        run(talk, cancelled="yes")  # type: ignore[arg-type]  # what a caller without a type checker may give
    with pytest.raises(ValueError, match="moves it backwards"):
        Clock().advance(-5)
