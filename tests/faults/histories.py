"""Histories to try the checker with, made from one clean run: two tasks, of which ``b`` loses its first attempt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.faults.history import Call, Ended, Firing, History, Line, Row, Stop
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


def never_run(task_id: str) -> tuple[Move, Move]:
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
    moves=(*CLEAN.moves, *(move for name in "fgm" for move in never_run(name))),
    calls=(*CLEAN.calls, *(Call("cancel", name, "unknown", 61.1) for name in "fgm")),
    counts=None,
)


def moved(*moves: Move, of: Sequence[Move] = A) -> History:
    """The moves of one task replaced by these."""
    rest = tuple(move for move in CLEAN.moves if move not in of)
    return replace(CLEAN, moves=(*rest, *moves))


def changed(move: Move, before: State | None, after: State) -> History:
    """One move of ``a`` led elsewhere; its neighbours fit."""
    number = A.index(move)
    moves = [*A]
    moves[number] = replace(move, before=before, after=after)
    if number and before is not None:
        moves[number - 1] = replace(moves[number - 1], after=before)
    if number + 1 < len(moves):
        moves[number + 1] = replace(moves[number + 1], before=after)
    return moved(*moves)


def ends(state: State) -> History:
    """``a`` comes to another end."""
    history = changed(A[2], RUNNING, state)
    return replace(history, rows=(replace(CLEAN.rows[0], status=state.status), CLEAN.rows[1]), counts=None)


def joined(other: str, key: str = "k", since: float = 0.7, at: float = 0.8) -> History:
    """A third submission that was told of another task."""
    call = Call("submit", "c", "joined", at, "#c", unique_key=key, joined=other, since=since)
    return replace(CLEAN, calls=(*CLEAN.calls, call))


def spent(**counted: Any) -> History:
    return changed(A[1], PENDING, replace(RUNNING, **counted))


def failed(**counted: Any) -> History:
    return changed(A[2], RUNNING, State("failed", 1, **counted))


def claimed(running: State) -> tuple[Move, Move]:
    waits = replace(running, status="pending", attempt=0, token=None, lease_until=None, node_id=None)
    return replace(A[0], after=waits), Move("a", 1.0, waits, running)


def again(outcome: str, before: State = RUNNING, **counted: Any) -> History:
    """``a``'s first attempt comes to this outcome, and its second one goes well, with the journal of both."""
    waits = replace(before, status="pending", token=None, lease_until=None, **counted)
    second = replace(waits, status="running", attempt=2, token="z", lease_until=33.0, node_id="m")
    moves = (
        *claimed(before),
        Move("a", 2.0, before, waits),
        Move("a", 3.0, waits, second),
        Move("a", 4.0, second, replace(second, status="completed", token=None, lease_until=None)),
    )
    said = (LINES[0], Line("a", 2, "begin", 3.0, 1), Line("a", 2, ASKS, 3.0, 1), *LINES[3:])
    history = replace(moved(*moves), lines=said, ended=(*CLEAN.ended, Ended("a", 1, outcome)))
    return replace(history, rows=(Row("a", "completed", 2, "#a"), CLEAN.rows[1]), effects=(("a", 2), ("b", 2)))


def gives_up(outcome: str, before: State = RUNNING, **counted: Any) -> History:
    """``a``'s only attempt comes to this outcome, which fails it."""
    after = replace(before, status="failed", token=None, lease_until=None, **counted)
    moves = (*claimed(before), Move("a", 2.0, before, after))
    history = replace(moved(*moves), lines=(LINES[0], *LINES[3:]), ended=(*CLEAN.ended, Ended("a", 1, outcome)))
    rows = (Row("a", "failed", 1, "#a"), CLEAN.rows[1])
    return replace(history, rows=rows, effects=(("b", 2),), counts={"failed": 1, "completed": 1})


def cancelled(*calls: Call, asked: bool = False, ended: bool = False) -> History:
    """``a`` is cancelled while it runs; its attempt leaves a row where ``ended``."""
    stopped = State("cancelled", 1)
    between = [Move("a", 1.5, RUNNING, replace(RUNNING, cancel_asked=True))] if asked else []
    last = Move("a", 2.0, between[0].after if between else RUNNING, stopped)
    history = replace(moved(*A[:2], *between, last), rows=(replace(CLEAN.rows[0], status="cancelled"), CLEAN.rows[1]))
    history = replace(history, effects=(("b", 2),), counts={"cancelled": 1, "completed": 1})
    ends = (*CLEAN.ended, Ended("a", 1, "cancelled")) if ended else CLEAN.ended
    return replace(history, ended=ends, calls=(*CLEAN.calls, *calls))


def called(*calls: Call) -> History:
    return replace(CLEAN, calls=(*CLEAN.calls, *calls))


def runs_again(first: History, told: str = "ok") -> History:
    """``a`` ended at its first attempt, and somebody asked for another run, which went well."""
    over = first.moves[-1].after
    again = State("pending", 1, generation=1)
    second = replace(again, status="running", attempt=2, token="z", lease_until=34.0)
    last = replace(second, status="completed", token=None, lease_until=None)
    more = (Move("a", 3.0, over, again), Move("a", 4.0, again, second), Move("a", 5.0, second, last))
    said = (*first.lines, Line("a", 2, "begin", 4.0, 1), Line("a", 2, ASKS, 4.0, 1))
    rows = (Row("a", "completed", 2, "#a"), CLEAN.rows[1])
    history = replace(first, moves=(*first.moves, *more), rows=rows, lines=said)
    history = replace(history, calls=(*first.calls, Call("retry", "a", told, 3.0)))
    return replace(history, effects=(("a", 2), ("b", 2)), counts=CLEAN.counts)


def of_four_seconds(lasts: float) -> History:
    """Only ``a``, under a lease that is to last four seconds."""
    moves = (A[0], Move("a", 1.0, PENDING, replace(RUNNING, lease_until=1.0 + lasts)), *A[2:])
    moves = (*moves[:2], replace(A[2], before=moves[1].after))
    only = replace(CLEAN, accepted=("a",), rows=CLEAN.rows[:1], ended=(), lines=LINES[:3], effects=(("a", 1),))
    return replace(only, moves=moves, counts=None, lease_seconds=4.0)


NOTED = tuple(replace(row, notes=True, result=(row.task_id, row.attempt)) for row in CLEAN.rows)
FINISHED = tuple(replace(row, finishes=True) for row in NOTED)
PAUSED = replace(FIRED, paused={"s": 100.0})
STOPPED = Stop("z", 1.2, 1.0, 25.0)


def at_a_stop(outcome: str, stop: Stop = STOPPED, **counted: Any) -> History:
    """``a``'s node is told to stop while it has it, and its attempt comes to this outcome."""
    return replace(again(outcome, replace(RUNNING, node_id="z"), **counted), stops=(stop,))


def cancelled_late(at: float, renewed_at: float = 1.55, told_at: float = 1.6) -> History:
    """``a`` is told to end; its lease is renewed once more, and then what ran does end."""
    asked = replace(RUNNING, cancel_asked=True)
    renewed = replace(asked, lease_until=renewed_at + 30.0)
    moves = (
        *A[:2],
        Move("a", 1.5, RUNNING, asked),
        Move("a", renewed_at, asked, renewed),
        Move("a", at, renewed, State("cancelled", 1)),
    )
    history = cancelled(Call("cancel", "a", "ok", told_at), asked=True)
    return replace(history, moves=(*moves, *(move for move in history.moves if move.task_id != "a")))


def much_later(history: History) -> History:
    """What happens to ``a`` after its first end happens 100 s later."""
    moves = [replace(one, at=one.at + 100.0) if one.task_id == "a" and one.at > 2.5 else one for one in history.moves]
    calls = [replace(one, at=one.at + 100.0) if one.what == "retry" else one for one in history.calls]
    leased = [replace(one, before=_leased(one.before), after=_leased(one.after)) for one in moves]
    return replace(history, moves=leased, calls=calls)


def _leased(state: Any) -> Any:
    return replace(state, lease_until=134.0) if state is not None and state.token == "z" else state


def only_a(*ats: float, run_at: float | None = None, ended_at: float) -> History:
    """``a`` alone, made, claimed and completed at these moments."""
    made, claimed_at, done_at = ats
    waits, runs = replace(PENDING, run_at=run_at), replace(RUNNING, lease_until=claimed_at + 30.0)
    moves = (
        Move("a", made, None, waits),
        Move("a", claimed_at, waits, runs),
        Move("a", done_at, runs, DONE),
    )
    said = (*LINES[:2], replace(LINES[2], at=ended_at))
    alone = replace(CLEAN, accepted=("a",), rows=FINISHED[:1], ended=(), lines=said, effects=(("a", 1),))
    return replace(alone, moves=moves, counts=None)


def due(run_at: float | None) -> History:
    """``a`` is claimed at 1.0."""
    waits = replace(PENDING, run_at=run_at)
    return moved(replace(A[0], after=waits), replace(A[1], before=waits), A[2])


ASKED = replace(RUNNING, cancel_asked=True)
LATE_CANCEL = (*A[:2], Move("a", 10.0, RUNNING, ASKED), Move("a", 11.0, ASKED, DONE))
TAKEN_EARLY = moved(*B[:2], replace(B[2], at=20.0), *B[3:], of=B)
