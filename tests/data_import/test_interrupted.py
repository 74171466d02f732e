"""Loads that end half-way or come again: crash, cancel, retry by hand, a task_id used twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import insert

from jobrunner.data_import.load import BEGIN, FINISH, SYMBOL
from jobrunner.db.market import import_loads, import_outcomes, import_rejects
from jobrunner.db.tables import tasks
from jobrunner.db.types import db_now
from jobrunner.errors import Cancel, DatabaseUnavailable
from tests.data_import.support import Importer, bars, put, records, rows

DAYS = (20240102, 20240103, 20240104)


def test_after_a_crash_the_done_symbols_are_told_and_not_read_again(importer: Importer, root: Path) -> None:
    for code in ("000001", "000002", "000003"):
        put(root, f"sz{code}.day", records(DAYS))
    put(root, "sz000002.day", b"damaged")
    importer.channel.fail_after = 3  # begin, two symbols, and the worker is gone
    with pytest.raises(ConnectionError):
        importer()
    importer.channel.fail_after = None
    put(root, "sz000001.day", b"would fail now")
    put(root, "sz000002.day", records(DAYS))
    importer.channel.effects.clear()
    result = importer(attempt=2)
    assert importer.channel.effects == [BEGIN, SYMBOL, SYMBOL, FINISH]
    assert (result["symbols_count"], result["inserted"], result["failed_count"]) == (3, 9, 0)
    told = [(each.symbol, each.attempt) for each in rows(importer.database, import_outcomes)]
    assert told == [("000001.SZ", 1), ("000002.SZ", 2), ("000003.SZ", 2)]
    assert rows(importer.database, import_rejects) == []


def test_a_retry_by_hand_is_a_new_load_that_reads_all_again(importer: Importer, root: Path) -> None:
    put(root, "sz000001.day", records(DAYS))
    importer()
    result = importer(generation=1, attempt=2)
    assert (result["load_id"], result["unchanged"]) == ("t.1", 3)


def test_a_task_id_used_again_after_its_task_was_pruned_starts_afresh(importer: Importer, root: Path) -> None:
    put(root, "sz000001.day", records(DAYS) + b"tail")
    importer(task_id="daily")
    with importer.database.begin() as conn:
        later = insert(tasks).values(task_id="daily", task_type="data_import", payload="{}", request_hash="x")
        conn.execute(later.values(run_at=db_now(), created_at=db_now(1)))
    put(root, "sz000001.day", records((*DAYS, 20240105)))
    result = importer(task_id="daily")
    assert (result["inserted"], result["unchanged"]) == (1, 3)
    assert len(rows(importer.database, import_loads)) == 1
    assert rows(importer.database, import_rejects) == []


def test_a_cancel_ends_between_symbols_and_keeps_what_is_done(importer: Importer, root: Path) -> None:
    for code in ("000001", "000002", "000003"):
        put(root, f"sz{code}.day", records(DAYS))
    importer.channel.cancel_after = 2
    with pytest.raises(Cancel, match="cancelled after 1 of 3 symbols"):
        importer()
    assert len(bars(importer.database)) == 3
    assert [each.symbol for each in rows(importer.database, import_outcomes)] == ["000001.SZ"]


@pytest.mark.parametrize("answers_lost", [0, 4])
def test_an_outage_is_waited_out_by_every_write(importer: Importer, root: Path, answers_lost: int) -> None:
    put(root, "sz000001.day", records(DAYS))
    importer.channel.outages = {BEGIN: 2, SYMBOL: 2, FINISH: 2}
    importer.channel.answers_lost = answers_lost
    result = importer()
    assert importer.channel.effects == [BEGIN] * 3 + [SYMBOL] * 3 + [FINISH] * 3
    assert (result["symbols_count"], result["failed_count"]) == (1, 0)
    assert len(bars(importer.database)) == 3
    assert [each.finished_at is not None for each in rows(importer.database, import_loads)] == [True]
    assert len([line for line in importer.channel.lines if "the database is away" in line.message]) == 3


def test_an_outage_ends_with_the_attempt_that_waits_for_it(importer: Importer, root: Path) -> None:
    put(root, "sz000001.day", records(DAYS))
    importer.channel.outages = {BEGIN: 1}
    importer.channel.cancelled = True
    with pytest.raises(DatabaseUnavailable):
        importer()
    assert importer.channel.effects == [BEGIN]
