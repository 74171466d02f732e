"""What goes straight to the driver: the same values, errors and transactions as by SQLAlchemy (PostgreSQL)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import Float, MetaData, Text, bindparam, cast, insert, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError

from jobrunner.db import direct
from jobrunner.db.engine import Database, open_database
from jobrunner.db.tables import queues
from jobrunner.db.types import UTCDateTime
from jobrunner.errors import DatabaseUnavailable

ASKED = select(
    cast(bindparam("words", type_=Text()), Text),
    cast(bindparam("list", type_=ARRAY(Text())), ARRAY(Text)),
    cast(bindparam("number", type_=Float()), Float),
    cast(bindparam("moment", type_=UTCDateTime()), UTCDateTime),
)
ADDED = insert(queues).values(name=bindparam("name"))
MOMENT = datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC)


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    opened = open_database(postgres_url, pool_size=1)
    yield opened
    opened.dispose()


def _prepared(conn: Any) -> int:
    return int(conn.execute(text("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'jobrunner%'")).scalar())


@pytest.mark.parametrize(
    "words",
    ["", "plain", 'a "b" \\c, {d} %(e)s $1 %', "两\n行\t\u2028", "NULL", None],
    ids=lambda words: repr(words)[:12],
)
def test_values_come_back_whichever_way_they_went(database: Database, words: str | None) -> None:
    several = [word for word in (words, "x,y", '"', "\\", "NULL", "") if word is not None]
    given = {"words": words, "list": several, "number": -1.5e-300, "moment": MOMENT}
    with database.single() as conn:
        straight = direct.fetch(conn, ASKED, given)
        again = direct.fetch(conn, ASKED, given)
        assert _prepared(conn) == 1, "prepared once, and used"
    with database.begin() as conn:
        in_transaction = direct.fetch(conn, ASKED, given)
        by_sqlalchemy = conn.execute(ASKED, given).all()
    assert straight == again == in_transaction == [(words, several, -1.5e-300, MOMENT)]
    assert [tuple(row) for row in by_sqlalchemy] == straight


@pytest.mark.parametrize("given", [{"words": "a\0b", "list": []}, {"words": "a", "list": ["b\0"]}])
def test_what_no_text_can_hold_is_refused_and_not_cut_short(database: Database, given: dict[str, Any]) -> None:
    asked = {**given, "number": 0.0, "moment": MOMENT}
    with database.single() as conn:
        with pytest.raises(DataError, match="NUL"):
            direct.fetch(conn, ASKED, asked)
        assert direct.fetch(conn, ASKED, {**asked, "words": "a", "list": []})[0][0] == "a", "the connection is sound"


def test_an_error_is_the_one_that_sqlalchemy_tells(database: Database) -> None:
    with database.single() as conn:
        assert direct.execute(conn, ADDED, {"name": "q"}) == 1
        told = []
        for add in (direct.execute, lambda conn, statement, values: conn.execute(statement, values)):
            with pytest.raises(IntegrityError) as caught:
                add(conn, ADDED, {"name": "q"})
            told.append((type(caught.value.orig), caught.value.connection_invalidated))
        assert told[0] == told[1] == (psycopg.errors.UniqueViolation, False)
        assert direct.execute(conn, ADDED, {"name": "r"}) == 1


def test_what_somebody_deallocated_is_prepared_again(database: Database) -> None:
    with database.single() as conn:
        direct.execute(conn, ADDED, {"name": "a"})
        conn.execute(text("DEALLOCATE ALL"))
        given = {"words": "a", "list": [], "number": 0.0, "moment": MOMENT}
        direct.fetch(conn, ASKED, given)
        direct.execute(conn, ADDED, {"name": "b"})
        direct.fetch(conn, ASKED, given)
        assert _prepared(conn) == 2
        assert conn.execute(select(queues.c.name).order_by(queues.c.name)).scalars().all() == ["a", "b"]


def test_what_could_not_be_prepared_can_be_later(database: Database) -> None:
    missing = insert(queues.to_metadata(MetaData(), name="missing")).values(name=bindparam("name"))
    with database.single() as conn:
        for _ in range(2):
            with pytest.raises(ProgrammingError):
                direct.execute(conn, missing, {"name": "a"})
        conn.execute(text("CREATE TABLE missing (name text)"))
        assert direct.execute(conn, missing, {"name": "a"}) == 1


def test_a_rollback_on_its_connection_costs_no_later_statement(database: Database) -> None:
    given = {"words": "a", "list": [], "number": 0.0, "moment": MOMENT}
    with database.single() as conn:
        direct.execute(conn, ADDED, {"name": "a"})
    with pytest.raises(RuntimeError), database.begin() as conn:
        direct.fetch(conn, ASKED, given)
        raise RuntimeError("whereupon psycopg clears all that is prepared")
    for name in ("b", "c"):
        with database.single() as conn:
            direct.fetch(conn, ASKED, given)
            direct.execute(conn, ADDED, {"name": name})


def test_inside_a_transaction_it_is_part_of_it(database: Database) -> None:
    with pytest.raises(RuntimeError), database.begin() as conn:
        direct.execute(conn, ADDED, {"name": "q"})
        raise RuntimeError("undo")
    with database.read() as conn:
        assert conn.execute(select(queues.c.name)).all() == []


def test_a_dead_link_is_told_and_given_up(database: Database, postgres_url: str) -> None:
    with database.single() as conn:
        direct.execute(conn, ADDED, {"name": "a"})
        number = conn.execute(text("SELECT pg_backend_pid()")).scalar()
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [number])
    with pytest.raises(DatabaseUnavailable), database.single() as conn:
        direct.execute(conn, ADDED, {"name": "b"})
    with database.single() as conn:
        direct.execute(conn, ADDED, {"name": "b"})
        assert conn.execute(text("SELECT pg_backend_pid()")).scalar() != number
