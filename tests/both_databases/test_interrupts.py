"""A signal in the middle of a statement."""

from __future__ import annotations

import signal
from types import FrameType

import pytest
from sqlalchemy import case, literal_column, select

from jobrunner.db.engine import Database
from jobrunner.db.types import db_now

LONG = "(WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 1000000) SELECT count(*) FROM n)"


class Interrupted(BaseException):
    """As KeyboardInterrupt, which pytest takes for itself."""


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_a_signal_raises_comes_through_the_statement_that_asks_for_the_time(database: Database) -> None:
    """SQLite made an error of it: Ctrl-C ended a command that waited with an internal error."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGVTALRM, interrupt)
    try:
        # Behind a condition the time is asked for when the long part is over, and not at the statement's beginning.
        with pytest.raises(Interrupted) as raised, database.begin() as conn:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.05)
            conn.execute(select(case((literal_column(LONG) > 0, db_now()))))
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    with database.begin() as conn:
        assert conn.execute(select(db_now())).scalar_one(), "nothing is locked"
    assert raised.tb is not None, "which holds the statement's cursor, as a notebook holds the last traceback"
