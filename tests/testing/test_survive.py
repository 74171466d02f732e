"""``survive``: what is sound survives, and each fault is found at its step."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Connection, text

from jobrunner.db import schema
from jobrunner.db.engine import open_database
from jobrunner.errors import HandlerError, InvalidInput
from jobrunner.testing import RehearsalError, Report, survive
from jobrunner.testing.attempt import AGAIN
from jobrunner.testing.steps import KILLED
from tests.testing import shop


def _survive(task_type: str, payload: dict[str, object], url: str | None = None, **options: object) -> Report:
    return survive(task_type, payload, database_url=url, prepare=shop.prepare, fakes=shop.use_fakes, **options)  # type: ignore[arg-type]


def _found(report: Report) -> dict[str, tuple[str, ...]]:
    return {step.name: step.differences for step in report.unclean}


pytestmark = pytest.mark.timeout(600)  # a process for each attempt
long = pytest.mark.long


def test_what_is_sound_survives() -> None:
    report = _survive("shop sound", {"names": ["tea"]}, at=range(2, 19, 4))
    report.check()
    assert report.clean
    assert all(step.reached for step in report.steps)


@long
def test_what_is_sound_survives_at_every_step(database_url: str) -> None:
    report = _survive("shop sound", {"names": ["tea"]}, database_url)
    report.check()
    assert report.result == {"names": 1}
    assert [str(one) for one in report.calls] == ["mail('ann') with key 'one'"]
    names = [step.name for step in report.steps]
    for part in (
        "before the handler",
        "ctx.progress 0.0 tea",
        "ctx.apply shop add once: before it",
        "ctx.apply shop add once: after COMMIT",
        "ctx.log added",
        "after call mail('ann') with key 'one'",
        "after the handler",
        "settle: before COMMIT",
        "settle: after COMMIT",
    ):
        assert names.count(part) == 1, names
    assert [name for name in names if name.startswith("ctx.apply shop add once: before SQL INSERT INTO lines")]
    assert all(step.reached for step in report.steps)


@long
def test_an_async_task_survives() -> None:
    report = _survive("shop sound async", {"name": "tea"}, at=[2, 9, 10, 16])
    report.check()
    assert [step.name for step in report.steps][:3] == [
        "ctx.apply shop add once: before it",
        "ctx.apply shop add once: before COMMIT",
        "ctx.apply shop add once: after COMMIT",
    ]


@long
def test_a_transaction_of_its_own_survives(postgres_url: str) -> None:
    report = _survive("shop sound transaction", {"name": "tea"}, postgres_url)
    report.check()
    names = [step.name for step in report.steps]
    assert {"ctx.transaction: before COMMIT", "ctx.transaction: after COMMIT"} <= set(names)
    with pytest.raises(RehearsalError, match="give survive a database_url"):
        _survive("shop sound transaction", {"name": "tea"}, max_attempts=1)


def test_what_is_written_beside_the_task_is_there_twice() -> None:
    report = _survive("shop writes beside", {"name": "tea"}, environ=lambda url: {"SHOP_URL": url})
    found = _found(report)
    assert set(found) >= {"after COMMIT", "after the handler", "settle: before COMMIT"}
    assert set(found.values()) == {('lines: row there twice instead of once: {"name": "tea"}',)}
    assert not {"before the handler", "before COMMIT", "settle: after COMMIT"} & set(found)
    last = report.unclean[-1]
    told = f'steps 5 to {last.number}, killed at each from "after COMMIT" to "{last.name}":\n    lines: row there twice'
    with pytest.raises(AssertionError, match=re.escape(told)):
        report.check()
    assert str(report).count("row there twice") == 1


def test_a_mail_before_the_commit_is_sent_twice() -> None:
    report = _survive("shop mails early", {"to": "ann"})
    found = _found(report)
    assert next(iter(found)) == "after call mail('ann')"
    assert {"after the handler", "settle: before COMMIT"} < set(found)
    assert set(found.values()) == {("call made twice instead of once: mail('ann')",)}


@long
def test_a_mail_after_the_commit_is_never_sent() -> None:
    found = _found(_survive("shop marks before it mails", {"to": "ann"}, at=[2, 9, 10, 11, 12]))
    assert found == {"ctx.apply shop mark: after COMMIT": ("call missing: mail('ann')",)}


@pytest.mark.parametrize("server", [False, pytest.param(True, marks=long)])
def test_an_effect_apart_from_the_completion_is_there_twice(request: pytest.FixtureRequest, *, server: bool) -> None:
    url = request.getfixturevalue("postgres_url") if server else None
    report = _survive("shop completes apart", {"name": "tea"}, url)
    found = _found(report)
    assert next(iter(found)) == "ctx.apply shop add: after COMMIT"
    assert list(found)[-1] == "settle: before COMMIT"
    assert set(found.values()) == {('lines: row there twice instead of once: {"name": "tea"}',)}


@long
def test_a_task_added_twice_is_found() -> None:
    found = _found(_survive("shop follows up twice", {}, at=[8, 9, 10]))
    assert [each for each in found["after the handler"] if "tasks added: row there twice instead of once" in each]


def test_a_result_that_tells_the_attempt_is_another() -> None:
    assert _found(_survive("shop tells its attempt", {}, at=[1, 2]))["ctx.log here"] == ("result 2 instead of 1",)


@long
def test_its_own_retries_belong_to_the_run_and_are_not_waited_for() -> None:
    report = _survive("shop tries again", {}, at=[1, 9, 17])
    report.check()
    assert report.result == "done"
    assert [step.name for step in report.steps] == ["before the handler"] * 3


def test_steps_can_be_picked() -> None:
    report = _survive("shop completes apart", {"name": "tea"}, at=[2, 1])
    assert [(step.number, step.clean, step.reached) for step in report.steps] == [(1, True, True), (2, True, True)]
    with pytest.raises(
        RehearsalError, match=r"at=\[0, 99\]: there is no such step; undisturbed, the task passes \d\d,"
    ):
        _survive("shop completes apart", {"name": "tea"}, at=[1, 99, 0])


def test_what_is_not_alike_cannot_be_compared() -> None:
    with pytest.raises(RehearsalError, match="two undisturbed runs are not alike"):
        _survive("shop never the same", {})
    _survive("shop never the same", {}, ignore=["name"], at=[1]).check()


@long
def test_the_state_is_what_the_test_says() -> None:
    names = "SELECT DISTINCT name FROM lines"

    def state(conn: Connection) -> dict[str, object]:
        return {"names": conn.execute(text(names))}

    report = _survive("shop completes apart", {"name": "tea"}, at=[8], state=state)
    assert report.steps[0].name == "ctx.apply shop add: after COMMIT"
    report.check()


@pytest.mark.parametrize("code", [0, 7, AGAIN, KILLED])
def test_a_process_that_dies_by_itself_is_told_with_its_last_step(code: int) -> None:
    """Also where it dies with a code that means something else between the rehearsal's own processes."""
    with pytest.raises(RehearsalError, match=f"died: exit code {code}; its last step: before the handler"):
        _survive("shop leaves", {"code": code})


def test_what_each_of_its_own_attempts_wrote_is_told_as_the_yardstick() -> None:
    report = _survive("shop writes and fails once", {}, environ=lambda url: {"SHOP_URL": url}, at=[1, 2])
    assert report.attempts == 2
    [lost] = _found(report)["before the handler"]
    assert lost.startswith("lines: row there once instead of twice")
    with pytest.raises(
        AssertionError, match=r"undisturbed, it took 2 attempts by itself: .* duplicates of its own too"
    ):
        report.check()
    report = _survive("shop completes apart", {"name": "tea"}, at=[8])
    assert (report.clean, "attempts" in str(report)) == (False, False)


def test_a_process_that_takes_too_long_is_ended() -> None:
    with pytest.raises(RehearsalError, match=r"did not end within 0\.5 s; its last step: before the handler"):
        _survive("shop sleeps", {"seconds": 60}, timeout=0.5)


@pytest.mark.ci
def test_after_an_interrupted_rehearsal_the_next_one_is_right() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGUSR1, interrupt)
    alarm = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGUSR1))
    alarm.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            _survive("shop sleeps", {"seconds": 60})
    finally:
        alarm.join()
        signal.signal(signal.SIGUSR1, former)
    assert _survive("shop tells its attempt", {}, at=[]).result == 1


def test_what_a_task_starts_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    _survive("shop leaves a child", {"path": str(path)}, at=[])
    pid = int(path.read_text("utf-8"))
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_what_cannot_be_rehearsed_is_refused() -> None:
    with pytest.raises(HandlerError, match="no handler 'shop unknown'"):
        _survive("shop unknown", {})
    with pytest.raises(InvalidInput, match="names"):
        _survive("shop sound", {})
    with pytest.raises(RehearsalError, match="no function of a module"):
        survive("shop sound", {"names": []}, fakes=lambda: None)
    with pytest.raises(TypeError, match=r"^timout: neither an option of survive\(\) nor .* concurrency_key, "):
        survive("shop sound", {"names": []}, timout=1)
    with pytest.raises(RehearsalError, match=r"ends as failed, not completed: .*no such table"):
        survive("shop completes apart", {"name": "tea"}, max_attempts=1)


def test_the_database_of_the_user_is_not_touched(sqlite_url: str, empty_postgres_url: str) -> None:
    for url in (sqlite_url, empty_postgres_url):
        report = _survive("shop completes apart", {"name": "tea"}, url, at=[7, 8])
        assert [step.name for step in report.unclean] == ["ctx.apply shop add: after COMMIT"]
    database = open_database(empty_postgres_url)
    with database.read() as conn:
        assert schema.current(conn) is None
    database.close()
