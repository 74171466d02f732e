"""Which error ends a command with which code."""

from __future__ import annotations

import io

import pytest
import typer

from jobrunner import errors
from jobrunner.cli.exits import Exit, exit_of
from jobrunner.cli.output import confirm
from jobrunner.client.errors import ClientClosed, NotTaken, Refused, TaskCancelled, TaskFailed, Unreachable, WaitTimeout

INSIDE = (errors.LeaseLost, errors.Verdict, errors.RetryLater, errors.Cancel)  # never leave a handler
CLIENTS = (
    ClientClosed,
    NotTaken,
    TaskCancelled,
    TaskFailed,
    WaitTimeout,
)  # raised to programs; commands tell it by what they print


def _below(kind: type[errors.JobrunnerError]) -> list[type[errors.JobrunnerError]]:
    return [one for child in kind.__subclasses__() for one in (child, *_below(child))]


def test_no_error_of_ours_is_an_internal_one() -> None:
    ours = [
        kind
        for kind in _below(errors.JobrunnerError)
        if not issubclass(kind, Refused)  # which goes by its status
        and kind.__module__ in (errors.__name__, Unreachable.__module__)
        and kind not in (*INSIDE, *CLIENTS)
    ]
    assert len(ours) > 10
    assert [kind.__name__ for kind in ours if exit_of(kind.__new__(kind)) is Exit.INTERNAL] == []


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, Exit.NOT_PERMITTED),
        (403, Exit.NOT_PERMITTED),
        (404, Exit.NOT_FOUND),
        (409, Exit.CONFLICT),
        (413, Exit.USAGE),
        (429, Exit.UNREACHABLE),
        (422, Exit.USAGE),
        (500, Exit.INTERNAL),
        (503, Exit.UNREACHABLE),
    ],
)
def test_what_a_server_refuses(status: int, code: Exit) -> None:
    assert exit_of(Refused(status, "no", {})) is code


def test_no_is_told_as_an_interruption(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    with pytest.raises(typer.Exit) as ended:
        confirm()
    assert ended.value.exit_code == Exit.INTERRUPTED
    assert capsys.readouterr().err.endswith("Nothing is changed.\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    confirm()


def test_anything_else_is_internal() -> None:
    assert exit_of(ZeroDivisionError()) is Exit.INTERNAL
