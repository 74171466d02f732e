"""Connections between two uses: never more than allowed, none to two users, and none that is broken."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import TimeoutError as PoolTimeout

from jobrunner.db.engine import open_database
from jobrunner.db.pool import Pool
from jobrunner.db.postgresql import open_server
from jobrunner.errors import DatabaseUnavailable

SIZE = 3


@pytest.fixture
def pool(postgres_url: str) -> Iterator[Pool]:
    made = Pool(open_server(make_url(postgres_url), pinned=True), SIZE)
    yield made
    made.close_idle()
    made.engine.dispose()


def test_the_latest_given_back_is_the_first_to_be_taken(pool: Pool) -> None:
    one, two = pool.take(1), pool.take(1)
    pool.give_back(one)
    pool.give_back(two)
    assert pool.take(1) is two
    assert pool.take(1) is one
    pool.give_back(one)
    pool.give_back(two)


def test_who_finds_none_free_waits_and_gives_up_in_time(pool: Pool) -> None:
    taken = [pool.take(1) for _ in range(SIZE)]
    began = time.monotonic()
    with pytest.raises(PoolTimeout):
        pool.take(0.2)
    assert time.monotonic() - began >= 0.2
    threading.Timer(0.2, pool.give_back, [taken[0]]).start()
    assert pool.take(10) is taken[0]
    for one in taken:
        pool.give_back(one)


def test_many_users_never_share_one_and_never_open_too_many(pool: Pool) -> None:
    held: set[int] = set()
    most = 0
    lock = threading.Lock()

    def use(_: int) -> None:
        nonlocal most
        conn = pool.take(30)
        with lock:
            assert id(conn) not in held, "it is somebody else's"
            held.add(id(conn))
            most = max(most, len(held))
        conn.execute(text("SELECT 1")).scalar()
        with lock:
            held.discard(id(conn))
        pool.give_back(conn)

    with ThreadPoolExecutor(12) as users:
        list(users.map(use, range(600)))
    assert most == SIZE


def test_one_that_broke_takes_the_idle_ones_with_it(pool: Pool) -> None:
    one, two, three = (pool.take(1) for _ in range(SIZE))
    pool.give_back(two)
    one.invalidate()
    pool.give_back(one)
    assert two.closed, "the restart that broke one broke both"
    fresh = [pool.take(1) for _ in range(SIZE - 1)]
    assert not {id(conn) for conn in fresh} & {id(one), id(two)}
    with pytest.raises(PoolTimeout):
        pool.take(0)
    for conn in (*fresh, three):
        pool.give_back(conn)


def test_what_is_lent_is_its_threads_alone(pool: Pool) -> None:
    link = pool.engine.connect()
    with pool.lent(link):
        assert pool.take(1) is link
        other = pool.take(1)
        assert other is not link, "it is in use"
        pool.give_back(link)
        with ThreadPoolExecutor(1) as elsewhere:
            strange = elsewhere.submit(pool.take, 1).result()
        assert strange is not link
        pool.give_back(other)
        pool.give_back(strange)
        assert pool.take(1) is link
        pool.give_back(link)
    assert pool.take(1) is not link
    link.close()


def test_a_server_that_takes_no_writes_any_more_is_left_with_every_connection(postgres_url: str) -> None:
    """Those that only read would be answered for ever, from what it was when it was demoted."""
    database = open_database(postgres_url)
    with database.read() as conn:
        idle = _backend(conn)
    with database.read() as conn:
        assert _backend(conn) == idle, "one that is idle is used again"
        with pytest.raises(DatabaseUnavailable), database.single() as writing:
            writing.exec_driver_sql("SET default_transaction_read_only = on")
            writing.exec_driver_sql("CREATE TABLE refused ()")
        assert _backend(conn) == idle, "what is in use is left to its user"
    with database.read() as conn:
        used = _backend(conn)
        assert used != idle
    with database.read() as conn:
        assert _backend(conn) == used, "later ones stay"
    database.dispose()


def _backend(conn: Connection) -> int:
    return int(conn.execute(text("SELECT pg_backend_pid()")).scalar_one())
