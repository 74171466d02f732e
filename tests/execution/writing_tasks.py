"""Handlers that write to the database of a test: table ``written``, one column ``n``."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, column, insert, table, text

from jobrunner.errors import LeaseLost
from jobrunner.handlers import Context, effect, task

WRITTEN = table("written", column("n"))


@effect("write")
def write(conn: Connection, rows: list[Any]) -> int:
    conn.execute(insert(WRITTEN), [{"n": n} for n in rows])
    return len(rows)


@effect("write and fail")
def write_and_fail(conn: Connection, rows: list[Any]) -> None:
    write(conn, rows)
    raise ValueError("half way")


@effect("write slowly")
def write_slowly(conn: Connection, rows: list[Any]) -> int:
    conn.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": rows[0]})
    return write(conn, rows)


@effect("write and return odd")
def write_and_return_odd(conn: Connection, rows: list[Any]) -> Any:
    write(conn, rows)
    return {"odd": [1, object()]}


@task("write oddly now")
def oddly_now(rows: list[int], ctx: Context) -> None:
    ctx.apply("write and return odd", rows)


@task("write on complete")
def on_complete(rows: list[int], ctx: Context, wait: float = 0.0) -> str:
    ctx.on_complete(write, rows)
    time.sleep(wait)
    return "done"


@task("fail on complete")
def fail_on_complete(rows: list[int], ctx: Context) -> None:
    ctx.on_complete(write_and_fail, rows)


@task("write now")
def now(rows: list[int], ctx: Context) -> int:
    return int(ctx.apply("write", rows))


@task("write now, caught")
def now_caught(rows: list[int], ctx: Context) -> str:
    try:
        ctx.apply(write, rows)
    except LeaseLost as lost:
        return str(lost)
    return "written"


@task("write in transaction")
def in_transaction(rows: list[int], then: str, ctx: Context) -> str:
    with ctx.transaction() as tx:
        tx.conn.execute(insert(WRITTEN), [{"n": n} for n in rows])
        if then != "leave open":
            ctx.on_complete(write, [100])
            tx.complete({"rows": len(rows)})
        if then == "raise inside":
            raise ValueError("inside")
        if then == "unstorable":
            tx.complete(object())
        if then == "nest":
            ctx.apply(write, [200])
    if then == "raise after":
        raise ValueError("after")
    return "not the result"


@effect("write and commit")
def write_and_commit(conn: Connection, rows: list[Any]) -> None:
    write(conn, rows)
    conn.commit()


@task("write and commit")
def commits(where: str, ctx: Context) -> None:
    if where == "applied":
        ctx.apply(write_and_commit, [1])
    elif where == "on complete":
        ctx.on_complete(write_and_commit, [1])
    else:
        with ctx.transaction() as tx:
            write(tx.conn, [1])
            tx.conn.commit()
            tx.complete()
