"""What an error of the database says about everybody else's silence."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from jobrunner.db.faults import is_busy, is_demoted, is_outage


def _told(error: psycopg.Error) -> DBAPIError:
    return DBAPIError("SELECT 1", None, error)


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("connection refused"),
        errors.ConnectionFailure(),
        errors.AdminShutdown(),
        errors.CannotConnectNow(),
        errors.ReadOnlySqlTransaction(),
        errors.DiskFull(),
        errors.TooManyConnections(),
        errors.OutOfMemory(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whoever_meets_this_cannot_tell_a_dead_node_from_one_that_met_it_too(error: psycopg.Error) -> None:
    assert is_outage(_told(error))


@pytest.mark.parametrize(
    "error",
    [errors.DeadlockDetected(), errors.LockNotAvailable(), errors.QueryCanceled(), errors.SerializationFailure()],
    ids=lambda error: type(error).__name__,
)
def test_this_is_met_by_one_statement_alone(error: psycopg.Error) -> None:
    assert not is_outage(_told(error))


def test_one_of_our_own_limits_is_no_outage() -> None:
    assert not is_outage(PoolTimeout("no connection was free in time"))


def test_what_waits_for_a_lock_and_what_takes_no_writes() -> None:
    assert is_busy(_told(errors.LockNotAvailable()))
    assert not is_busy(_told(errors.DiskFull()))
    assert is_demoted(_told(errors.ReadOnlySqlTransaction()))
    assert not is_demoted(_told(errors.AdminShutdown()))
