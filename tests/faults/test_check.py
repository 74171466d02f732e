"""The checker itself: each broken promise is seen under its number, and a clean run is not accused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults.check import check
from tests.faults.history import Call, Ended, Exit, Firing, History, Line, Row, Stop, lines
from tests.faults.journal import Move, State

ASKS = "asks for its effect"
PENDING = State("pending")
RUNNING = State("running", 1, token="x", lease_until=31.0, node_id="n")
DONE = State("completed", 1, node_id="n")
LOST = State("pending", 1, losses=1, node_id="n")
AGAIN = State("running", 2, token="y", lease_until=65.0, losses=1, node_id="m")
DONE_AGAIN = State("completed", 2, losses=1, node_id="m")
LINES = (
    Line("a", 1, "begin", 1.0, 1),
    Line("a", 1, ASKS, 1.0, 1),
    Line("a", 1, "end", 2.0, 1),
    Line("b", 1, "begin", 1.0, 1),
    Line("b", 1, ASKS, 1.0, 1),
    Line("b", 2, "begin", 35.0, 2),
    Line("b", 2, ASKS, 35.0, 2),
    Line("b", 2, "end", 36.0, 2),
)
A = (Move("a", 0.5, None, PENDING), Move("a", 1.0, PENDING, RUNNING), Move("a", 2.0, RUNNING, DONE))
B = (
    Move("b", 0.5, None, PENDING, unique_key="k"),
    Move("b", 1.0, PENDING, RUNNING, unique_key="k"),
    Move("b", 34.0, RUNNING, LOST, unique_key="k"),
    Move("b", 35.0, LOST, AGAIN, unique_key="k"),
    Move("b", 36.0, AGAIN, DONE_AGAIN, unique_key="k"),
)


def _never_run(task_id: str) -> tuple[Move, Move]:
    return Move(task_id, 60.0, None, PENDING), Move(task_id, 61.0, PENDING, State("cancelled"))


CLEAN = History(
    accepted=("a", "b"),
    rows=(Row("a", "completed", 1, "#a"), Row("b", "completed", 2, "#b")),
    ended=(Ended("b", 1, "lost"),),
    lines=LINES,
    effects=(("a", 1), ("b", 2)),
    calls=(Call("submit", "a", "unknown", 0.6, "#a"), Call("submit", "a", "ok", 0.7, "#a")),
    moves=(*A, *B),
    counts={"completed": 2},
    stops=(Stop("n", 40.0, 1.0, 25.0),),
    lease_seconds=30.0,
)
FIRED = replace(
    CLEAN,
    firings=(Firing("s", 60.0, "f"), Firing("s", 62.5, "m", manual=True), Firing("s", 80.0, "g", skipped=1)),
    every={"s": (50.0, 10.0)},
    rows=(*CLEAN.rows, *(Row(name, "cancelled", 0) for name in "fgm")),
    moves=(*CLEAN.moves, *(move for name in "fgm" for move in _never_run(name))),
    calls=(*CLEAN.calls, *(Call("cancel", name, "unknown", 61.1) for name in "fgm")),
    counts=None,
)


def _moved(*moves: Move, of: Sequence[Move] = A) -> History:
    """The moves of one task replaced by these."""
    rest = tuple(move for move in CLEAN.moves if move not in of)
    return replace(CLEAN, moves=(*rest, *moves))


def _changed(move: Move, before: State | None, after: State) -> History:
    """One move of ``a`` led elsewhere; its neighbours fit."""
    number = A.index(move)
    moves = [*A]
    moves[number] = replace(move, before=before, after=after)
    if number and before is not None:
        moves[number - 1] = replace(moves[number - 1], after=before)
    if number + 1 < len(moves):
        moves[number + 1] = replace(moves[number + 1], before=after)
    return _moved(*moves)


def _ends(state: State) -> History:
    """``a`` comes to another end."""
    history = _changed(A[2], RUNNING, state)
    return replace(history, rows=(replace(CLEAN.rows[0], status=state.status), CLEAN.rows[1]), counts=None)


def _joined(other: str, key: str = "k", since: float = 0.7, at: float = 0.8) -> History:
    """A third submission that was told of another task."""
    call = Call("submit", "c", "joined", at, "#c", unique_key=key, joined=other, since=since)
    return replace(CLEAN, calls=(*CLEAN.calls, call))


def _spent(**counted: Any) -> History:
    return _changed(A[1], PENDING, replace(RUNNING, **counted))


def _failed(**counted: Any) -> History:
    return _changed(A[2], RUNNING, State("failed", 1, **counted))


def test_what_is_just_allowed_is_not_accused() -> None:
    """Each by as little as the last ones below break it by."""
    for lasts in (29.0, 30.0, 30.05):
        assert check(_changed(A[1], PENDING, replace(RUNNING, lease_until=1.0 + lasts))) == []
    assert check(_moved(*B[:2], replace(B[2], at=31.01), *B[3:], of=B)) == []
    assert check(replace(_moved(*B[:2], replace(B[2], at=20.0), *B[3:], of=B), alone=True)) == []
    for counted in ({"failures": 2}, {"crashes": 2}, {"losses": 9}):
        told = [one for one in check(_spent(**counted)) if one.invariant == "I11"]
        assert told == []
    for counted in ({"failures": 3}, {"crashes": 3}, {"losses": 10}):
        assert [one for one in check(_failed(**counted)) if one.invariant == "I11"] == []
    assert check(_joined("b")) == []
    assert check(replace(CLEAN, stops=(Stop("n", 20.0, 1.0, 25.0, reaches=False),))) == [], (
        "a dead link gives nothing back"
    )
    assert check(replace(CLEAN, stops=(Stop("n", 20.0, 15.0, 25.0),))) == [], "lost before it was gone"
    took = Stop("n", 40.0, 26.9, 25.0)
    assert check(replace(CLEAN, stops=(took,))) == []


def test_a_clean_run_is_not_accused() -> None:
    assert check(CLEAN) == []
    assert check(FIRED) == []
    late = (*LINES, Line("b", 1, "end", 35.5, 1))
    assert check(replace(CLEAN, lines=late)) == [], "an attempt whose lease ran out may still have been busy"
    retried = replace(CLEAN.rows[0], status="cancelled", attempt=1)
    asked = replace(RUNNING, cancel_asked=True)
    history = _moved(*A[:2], Move("a", 1.5, RUNNING, asked), Move("a", 2.0, asked, State("cancelled", 1)))
    history = replace(history, rows=(retried, CLEAN.rows[1]), counts=None, effects=(("b", 2),))
    assert check(replace(history, calls=(Call("cancel", "a", "ok", 1.6), *CLEAN.calls))) == []


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (replace(CLEAN, accepted=("a", "b", "c")), "I1 c: lost"),
        (replace(FIRED, rows=CLEAN.rows), "I1 f: lost"),
        (replace(CLEAN, accepted=("a",)), "I2 b: nobody asked"),
        (replace(CLEAN, calls=(Call("submit", "a", "ok", 0.7, "#c"),)), "I2 a: its row is of another request"),
        (replace(CLEAN, calls=(*CLEAN.calls, Call("submit", "a", "ok", 0.8, "#c"))), "I3 a: two different requests"),
        (replace(CLEAN, lines=(*LINES, Line("a", 1, "begin", 3.0, 3))), "I4 a: attempt 1 began 2 times"),
        (replace(CLEAN, lines=(*LINES, Line("a", 2, "begin", 3.0, 3))), "I4 a: attempt 2 began, and nobody counted"),
        (_changed(A[1], PENDING, replace(RUNNING, attempt=0)), "I4 a: claimed, and attempt 0 became 0"),
        (_changed(A[2], RUNNING, replace(DONE, attempt=2)), "I4 a: attempt 1 became 2 without a claim"),
        (_moved(*B[:3], *(replace(m, after=replace(m.after, token="x")) for m in B[3:4]), of=B[:4]), "I4 b: a token"),
        (replace(CLEAN, ended=()), "I5 b: completed: of 2 attempts, [1, 2] have no row"),
        (replace(CLEAN, ended=(*CLEAN.ended, Ended("a", 1, "lost"))), "I5 a: completed: of 1 attempts, [] have no row"),
        (replace(CLEAN, ended=[*CLEAN.ended, *CLEAN.ended]), "I5 b: attempt 1 ended twice"),
        (replace(CLEAN, effects=(("b", 2),)), "I5 a: completed without its effect"),
        (replace(CLEAN, effects=(*(CLEAN.effects or ()), ("b", 1))), "I5 b: an effect of attempt 1 stands"),
        (replace(CLEAN, effects=(*(CLEAN.effects or ()), ("a", 1))), "I5 a: its effect stands 2 times"),
        (
            _moved(*A[:2], Move("a", 1.5, RUNNING, replace(RUNNING, token="z")), Move("a", 2.0, RUNNING, DONE)),
            "I5 a: the token changed",
        ),
        (_moved(*A, Move("a", 3.0, DONE, replace(PENDING, attempt=1))), "I6 a: it was completed, and is pending"),
        (_moved(*A, Move("a", 3.0, DONE, State("failed", 1))), "I7 a: completed -> failed"),
        (_moved(A[0], A[2]), "I7 a: from"),
        (_moved(replace(A[0], after=RUNNING), *A[2:]), "I7 a: it was made running"),
        (_moved(*B[:2], replace(B[2], at=20.0), *B[3:], of=B), "I8 b: taken back 11.00 s before"),
        (
            replace(CLEAN, lines=(*LINES, Line("b", 1, "end", 35.5, 1)), ended=(Ended("b", 1, "released"),)),
            "I9 b: attempts 1 and 2 ran at once for 0.50 s",
        ),
        (_changed(A[2], RUNNING, State("pending", 1)), "I11 a: an attempt was given back, and 0 were counted"),
        (_changed(A[2], RUNNING, State("pending", 1, failures=3)), "I11 a: pending with 3 failures of 3"),
        (replace(CLEAN, rows=(Row("a", "running", 1), CLEAN.rows[1]), effects=None), "I12 a: still running"),
        (replace(FIRED, firings=[*FIRED.firings, *FIRED.firings]), "I13 s: 60 fired 2 times"),
        (replace(FIRED, firings=[*FIRED.firings, Firing("s", 90.0, "f")]), "I13 s: 2 instants share f"),
        (replace(FIRED, firings=FIRED.firings[2:]), "I13 s: 30 s from one to the next, 1 skipped"),
        (replace(FIRED, firings=()), "I13 s: it never fired"),
        (replace(CLEAN, calls=(*CLEAN.calls, Call("submit", "a", "fail", 0.8, "#a"))), "I3 a: the same request"),
        (replace(CLEAN, rows=(replace(CLEAN.rows[0], notes=True), CLEAN.rows[1]), lines=LINES[3:]), "I2 a: completed"),
        (replace(CLEAN, ended=(*CLEAN.ended, Ended("a", 2, "lost"))), "I5 a: attempt 2 ended, of 1"),
        (_changed(A[1], PENDING, replace(RUNNING, token=None)), "I4 a: claimed without a token"),
        (_failed(failures=1), "I11 a: failed by None, and no budget"),
        (_failed(losses=9), "I11 a: failed by None, and no budget"),
        (replace(CLEAN, moves=B), "I7 a: nobody saw it being made"),
        (_moved(*A[:2]), "I7 a: it is completed, and the last that was seen is running"),
        (_ends(State("cancelled", 1)), "I16 a: cancelled, and nobody asked"),
        (
            replace(_ends(State("failed", 1, failures=3)), calls=(Call("cancel", "a", "ok", 1.5),)),
            "I16 a: failed after",
        ),
        (_joined("b", since=37.0, at=38.0), "I14 c: told of b, which was not open"),
        (replace(_joined("b"), rows=(*CLEAN.rows, Row("c", "completed", 1))), "I14 c: told of b, and made as well"),
        (replace(FIRED, firings=[*FIRED.firings, Firing("s", 100.0, "f")]), "I13 s: 20 s from one to the next, 0"),
        (replace(FIRED, firings=[*FIRED.firings, Firing("s", 85.0, "f")]), "I13 s: 5 s from one to the next, 0"),
        (replace(CLEAN, moves=(replace(A[0], unique_key="k"), *B, *A[1:])), "I14 b: open with 'k', as ['a']"),
        (_moved(*A, Move("a", 3.0, DONE, DONE)), "I6 a: it was completed, and is completed"),
        (replace(CLEAN, calls=(*CLEAN.calls, Call("cancel", "a", "ok", 1.5))), "I16 a: completed after its cancel"),
        (replace(CLEAN, calls=(*CLEAN.calls, Call("cancel", "a", "ok", 0.7))), "I16 a: running after its cancel"),
        (_changed(A[1], PENDING, replace(RUNNING, lease_until=3631.0)), "I18 a: a lease of 30 s lasts 3630.00 s"),
        (replace(CLEAN, counts={"completed": 1}), "I20 -: people are told"),
        (replace(CLEAN, stops=(Stop("m", 30.0, 1.0, 25.0),)), "I21 b: claimed 5.00 s after"),
        (replace(CLEAN, stops=(Stop("n", 40.0, 28.0, 25.0),)), "I21 -: a node took 28.0 s"),
        (replace(CLEAN, stops=(Stop("n", 20.0, 1.0, 25.0),)), "I21 b: its node was told to stop while it had it"),
        (replace(CLEAN, exits=(Exit("n", 1),)), "I21 -: node n ended with 1"),
        (replace(CLEAN, ended=(Ended("b", 1, "released"),)), "I11 b: attempt 1 ended as released, and was charged as"),
        (replace(CLEAN, ended=(*CLEAN.ended, Ended("a", 1, "error"))), "I19 a: attempt 1 went well, and is recorded"),
        (_joined("b", key="other"), "I14 c: told of b, which was not open with its key"),
        (_joined("gone"), "I14 c: told of gone, which was not open with its key"),
        (_spent(failures=3), "I11 a: running with 3 failures of 3"),
        (_spent(crashes=3), "I11 a: running with 3 crashes of 3"),
        (_spent(losses=10), "I11 a: running with 10 losses of 10"),
        (_failed(failures=4), "I11 a: failed with 4 failures of 3"),
        (_failed(crashes=4), "I11 a: failed with 4 crashes of 3"),
        (_failed(losses=11), "I11 a: failed with 11 losses of 10"),
        (_changed(A[1], PENDING, replace(RUNNING, lease_until=31.2)), "I18 a: a lease of 30 s lasts 30.20 s"),
        (_changed(A[1], PENDING, replace(RUNNING, lease_until=29.4)), "I18 a: a lease of 30 s lasts 28.40 s"),
        (_moved(*B[:2], replace(B[2], at=30.9), *B[3:], of=B), "I8 b: taken back 0.10 s before"),
    ],
)
def test_every_broken_promise_is_seen(broken: History, told: str) -> None:
    assert any(str(one).startswith(told) for one in check(broken)), check(broken)


def test_a_line_that_a_kill_left_half_written_says_nothing(tmp_path: Path) -> None:
    whole = '{"task_id": "a", "attempt": 1, "what": "begin", "at": 1.0, "pid": 1}'
    (tmp_path / "ledger").write_text(f"\n{whole[:30]}\n{whole}\n{whole[:50]}")
    assert lines(tmp_path / "ledger") == [Line("a", 1, "begin", 1.0, 1)]
