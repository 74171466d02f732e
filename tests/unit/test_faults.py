"""What an error of the database says about everybody else's silence."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from jobrunner.db.faults import is_busy, is_demoted, refuses_all


def _told(error: Exception) -> DBAPIError:
    return DBAPIError("SELECT 1", None, error)


def _of_file(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError()
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    "error",
    [
        errors.ReadOnlySqlTransaction(),
        errors.DiskFull(),
        _of_file(sqlite3.SQLITE_FULL),
        _of_file(sqlite3.SQLITE_IOERR_WRITE),
    ],
    ids=repr,
)
def test_whoever_meets_this_cannot_tell_a_dead_node_from_one_that_met_it_too(error: Exception) -> None:
    assert refuses_all(_told(error))


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("connection refused"),
        errors.ConnectionFailure(),
        errors.AdminShutdown(),
        errors.OutOfMemory(),
        errors.ConfigurationLimitExceeded(),
        errors.DeadlockDetected(),
        errors.LockNotAvailable(),
        errors.QueryCanceled(),
        errors.SerializationFailure(),
        _of_file(sqlite3.SQLITE_BUSY),
    ],
    ids=repr,
)
def test_this_is_met_by_one_connection_alone(error: Exception) -> None:
    assert not refuses_all(_told(error))


def test_one_of_our_own_limits_is_no_outage() -> None:
    assert not refuses_all(PoolTimeout("no connection was free in time"))


def test_what_waits_for_a_lock_and_what_takes_no_writes() -> None:
    assert is_busy(_told(errors.LockNotAvailable()))
    assert not is_busy(_told(errors.DiskFull()))
    assert is_demoted(_told(errors.ReadOnlySqlTransaction()))
    assert not is_demoted(_told(errors.AdminShutdown()))
