"""A shop's tasks: sound ones, and ones that each have a fault for ``survive`` to find."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, text

from jobrunner import Context, RetryLater, effect, enqueue, task
from jobrunner.testing import call


def send_mail(to: str, key: str | None = None) -> None:
    raise ConnectionError("no test sends mail")


def prepare(conn: Connection) -> None:
    conn.execute(text("CREATE TABLE lines (name TEXT NOT NULL)"))


def use_fakes() -> None:
    def fake(to: str, key: str | None = None) -> None:
        call("mail", to, key=key)

    globals()["send_mail"] = fake


@cache
def own_engine() -> Engine:
    """As a module has that knows nothing of effects."""
    return create_engine(os.environ["SHOP_URL"])


@effect("shop add")
def add(conn: Connection, rows: list[Any]) -> int:
    conn.execute(text("INSERT INTO lines (name) VALUES (:name)"), [{"name": name} for name in rows])
    return len(rows)


@effect("shop add once")
def add_once(conn: Connection, rows: list[Any]) -> None:
    for name in rows:
        known = {"name": name}
        if conn.execute(text("SELECT 1 FROM lines WHERE name = :name"), known).first() is None:
            conn.execute(text("INSERT INTO lines (name) VALUES (:name)"), known)


@task("shop sound")
def sound(names: list[str], ctx: Context) -> dict[str, int]:
    for number, name in enumerate(names):
        ctx.progress(number / len(names), name)
        ctx.apply(add_once, [name])
    ctx.log("added", count=len(names))
    ctx.on_complete(add, ["end"])
    send_mail("ann", key="one")
    return {"names": len(names)}


@task("shop sound async")
async def sound_async(name: str, ctx: Context) -> None:
    await asyncio.to_thread(ctx.apply, add_once, [name])
    ctx.on_complete(add, ["end"])


@task("shop sound transaction")
def sound_transaction(name: str, ctx: Context) -> None:
    with ctx.transaction() as tx:
        add(tx.conn, [name])
        tx.complete({"name": name})


@task("shop writes beside")
def writes_beside(name: str) -> None:
    with own_engine().begin() as conn:
        add(conn, [name])


@task("shop mails early")
def mails_early(to: str, ctx: Context) -> None:
    send_mail(to)
    ctx.on_complete(add, [to])


@task("shop completes apart")
def completes_apart(name: str, ctx: Context) -> str:
    ctx.apply(add, [name])
    return name


@task("shop marks before it mails")
def marks_before_it_mails(to: str, ctx: Context) -> None:
    if ctx.apply("shop mark", [to]):
        send_mail(to)


@effect("shop mark")
def mark(conn: Connection, rows: list[Any]) -> bool:
    if conn.execute(text("SELECT 1 FROM lines WHERE name = :name"), {"name": rows[0]}).first() is not None:
        return False
    add(conn, rows)
    return True


@task("shop tells its attempt", max_attempts=2)
def tells_its_attempt(ctx: Context) -> int:
    ctx.log("here")
    return ctx.attempt


@task("shop tries again", max_attempts=2)
def tries_again(ctx: Context) -> str:
    if ctx.attempt == 1:
        raise RetryLater(3600)
    if ctx.attempt == 2:
        raise ValueError("a bad day")
    return "done"


@effect("shop follow up")
def follow_up(conn: Connection, rows: list[Any]) -> None:
    enqueue(conn, "shop sound", {"names": rows})


@task("shop follows up twice")
def follows_up_twice(ctx: Context) -> None:
    ctx.apply(follow_up, ["more"])


@task("shop never the same")
def never_the_same(ctx: Context) -> None:
    ctx.on_complete(add, [os.urandom(8).hex()])


@task("shop sleeps")
def sleeps(seconds: float) -> None:
    time.sleep(seconds)


@task("shop leaves a child")
def leaves_a_child(path: str) -> None:
    child = subprocess.Popen(["sleep", "60"])
    Path(path).write_text(str(child.pid), "utf-8")


@task("shop leaves")
def leaves(code: int) -> None:
    os._exit(code)


@task("shop writes and fails once", max_attempts=3)
def writes_and_fails_once(ctx: Context) -> None:
    with own_engine().begin() as conn:
        add(conn, ["tea"])
    if ctx.attempt == 1:
        raise ValueError("a bad day")
