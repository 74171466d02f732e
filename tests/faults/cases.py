"""Histories for the checker: clean ones that come close to a breach, and each breach with what has to be said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.faults.history import Call, Ended, Exit, Firing, History, Line, Row, Stop
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


def _claimed(running: State) -> tuple[Move, Move]:
    waits = replace(running, status="pending", attempt=0, token=None, lease_until=None, node_id=None)
    return replace(A[0], after=waits), Move("a", 1.0, waits, running)


def _again(outcome: str, before: State = RUNNING, **counted: Any) -> History:
    """``a``'s first attempt comes to this outcome, and its second one goes well, with the journal of both."""
    waits = replace(before, status="pending", token=None, lease_until=None, **counted)
    second = replace(waits, status="running", attempt=2, token="z", lease_until=33.0)
    moves = (
        *_claimed(before),
        Move("a", 2.0, before, waits),
        Move("a", 3.0, waits, second),
        Move("a", 4.0, second, replace(second, status="completed", token=None, lease_until=None)),
    )
    said = (LINES[0], Line("a", 2, "begin", 3.0, 1), Line("a", 2, ASKS, 3.0, 1), *LINES[3:])
    history = replace(_moved(*moves), lines=said, ended=(*CLEAN.ended, Ended("a", 1, outcome)))
    return replace(history, rows=(Row("a", "completed", 2, "#a"), CLEAN.rows[1]), effects=(("a", 2), ("b", 2)))


def _gives_up(outcome: str, before: State = RUNNING, **counted: Any) -> History:
    """``a``'s only attempt comes to this outcome, which fails it."""
    after = replace(before, status="failed", token=None, lease_until=None, **counted)
    moves = (*_claimed(before), Move("a", 2.0, before, after))
    history = replace(_moved(*moves), lines=(LINES[0], *LINES[3:]), ended=(*CLEAN.ended, Ended("a", 1, outcome)))
    rows = (Row("a", "failed", 1, "#a"), CLEAN.rows[1])
    return replace(history, rows=rows, effects=(("b", 2),), counts={"failed": 1, "completed": 1})


def _cancelled(*calls: Call, asked: bool = False, ended: bool = False) -> History:
    """``a`` is cancelled while it runs; its attempt leaves a row where ``ended``."""
    stopped = State("cancelled", 1)
    between = [Move("a", 1.5, RUNNING, replace(RUNNING, cancel_asked=True))] if asked else []
    last = Move("a", 2.0, between[0].after if between else RUNNING, stopped)
    history = replace(_moved(*A[:2], *between, last), rows=(replace(CLEAN.rows[0], status="cancelled"), CLEAN.rows[1]))
    history = replace(history, effects=(("b", 2),), counts={"cancelled": 1, "completed": 1})
    ends = (*CLEAN.ended, Ended("a", 1, "cancelled")) if ended else CLEAN.ended
    return replace(history, ended=ends, calls=(*CLEAN.calls, *calls))


def _called(*calls: Call) -> History:
    return replace(CLEAN, calls=(*CLEAN.calls, *calls))


def _runs_again(first: History) -> History:
    """``a`` ended at its first attempt, and somebody asked for another run, which went well."""
    over = first.moves[-1].after
    again = State("pending", 1, generation=1)
    second = replace(again, status="running", attempt=2, token="z", lease_until=34.0)
    last = replace(second, status="completed", token=None, lease_until=None)
    more = (Move("a", 3.0, over, again), Move("a", 4.0, again, second), Move("a", 5.0, second, last))
    said = (*first.lines, Line("a", 2, "begin", 4.0, 1), Line("a", 2, ASKS, 4.0, 1))
    rows = (Row("a", "completed", 2, "#a"), CLEAN.rows[1])
    history = replace(first, moves=(*first.moves, *more), rows=rows, lines=said)
    return replace(history, effects=(("a", 2), ("b", 2)), counts=CLEAN.counts)


def _of_four_seconds(lasts: float) -> History:
    """Only ``a``, under a lease that is to last four seconds."""
    moves = (A[0], Move("a", 1.0, PENDING, replace(RUNNING, lease_until=1.0 + lasts)), *A[2:])
    moves = (*moves[:2], replace(A[2], before=moves[1].after))
    only = replace(CLEAN, accepted=("a",), rows=CLEAN.rows[:1], ended=(), lines=LINES[:3], effects=(("a", 1),))
    return replace(only, moves=moves, counts=None, lease_seconds=4.0)


NOTED = tuple(replace(row, notes=True) for row in CLEAN.rows)
ASKED = replace(RUNNING, cancel_asked=True)
LATE_CANCEL = (*A[:2], Move("a", 10.0, RUNNING, ASKED), Move("a", 11.0, ASKED, DONE))
TAKEN_EARLY = _moved(*B[:2], replace(B[2], at=20.0), *B[3:], of=B)
ALLOWED: Sequence[tuple[History, str]] = (
    (CLEAN, "a clean run"),
    (FIRED, "a schedule with a gap that was counted, and a firing by hand"),
    *(
        (_changed(A[1], PENDING, replace(RUNNING, lease_until=1.0 + lasts)), f"a lease of {lasts} s for 30")
        for lasts in (28.5, 30.0, 30.09)
    ),
    (_moved(*B[:2], replace(B[2], at=31.0), *B[3:], of=B), "taken back in the moment in which the lease ran out"),
    (replace(TAKEN_EARLY, alone=True), "taken back early by who has the file to himself"),
    (_again("error", failures=1), "one failure"),
    (_again("timeout", failures=1), "one timeout"),
    (_again("crashed", crashes=1), "one crash"),
    (_again("out_of_memory", crashes=1), "one crash for want of memory"),
    (_again("released", releases=1), "given back"),
    (_again("retry_later", snoozes=1), "asked to run later"),
    (_again("error", replace(RUNNING, failures=1), failures=2), "the last but one failure"),
    (_again("crashed", replace(RUNNING, crashes=1), crashes=2), "the last but one crash"),
    (_gives_up("error", replace(RUNNING, failures=2), failures=3), "the last failure"),
    (_gives_up("crashed", replace(RUNNING, crashes=2), crashes=3), "the last crash"),
    (_gives_up("retry_later", replace(RUNNING, snoozes=999), snoozes=1000), "too often asked to run later"),
    (_gives_up("refused", failures=1), "arguments that do not fit"),
    (_joined("b"), "told of the open task with its key"),
    (_joined("b", since=36.05, at=37.0), "told of one that ended in the moment in which it was asked"),
    (_joined("b", since=0.3, at=0.45), "told of one that was made in the moment in which it was told"),
    (replace(CLEAN, stops=(Stop("n", 20.0, 1.0, 25.0, reaches=False),)), "a dead link gives nothing back"),
    (replace(CLEAN, stops=(Stop("m", 30.0, 1.0, 25.0, reaches=False),)), "a claim that waited in a dead link"),
    (replace(CLEAN, stops=(Stop("n", 20.0, 14.0, 25.0),)), "lost before it was gone"),
    (replace(CLEAN, stops=(Stop("n", 31.0, 1.0, 25.0),)), "its lease had run out when it was told"),
    (replace(CLEAN, stops=(Stop("m", 33.5, 1.0, 25.0),)), "it claimed before it heard"),
    (replace(CLEAN, stops=(Stop("n", 40.0, 27.0, 25.0),)), "a stop that took its whole grace"),
    (replace(CLEAN, lines=(*LINES, Line("b", 1, "end", 35.5, 1))), "still busy after its lease ran out"),
    (_cancelled(Call("cancel", "a", "ok", 1.6), asked=True), "cancelled on request"),
    (_cancelled(Call("cancel", "a", "ok", 2.1)), "cancelled at once"),
    (_cancelled(Call("cancel", "a", "unknown", 1.6), ended=True), "cancelled, and its caller never heard"),
    (_cancelled(ended=True), "its handler cancelled itself"),
    (_cancelled(asked=True), "cancelled on a request of which nobody kept the answer"),
    (replace(_cancelled(), calls=()), "cancelled where nobody kept the calls"),
    (_called(Call("cancel", "a", "fail", 1.5)), "a cancel that was refused"),
    (_called(Call("cancel", "a", "ok", 2.0)), "a cancel that came with its end"),
    (_moved(*LATE_CANCEL), "it came to its end in spite of a cancel"),
    (_runs_again(_cancelled(Call("cancel", "a", "ok", 2.1))), "cancelled, and asked to run again"),
    (_runs_again(_gives_up("error", replace(RUNNING, failures=2), failures=3)), "failed, and asked to run again"),
    (replace(CLEAN, rows=NOTED), "each began with a line"),
    (replace(CLEAN, lines=LINES[3:], effects=(("b", 2),)), "a handler that writes nothing"),
    (replace(CLEAN, lines=(LINES[0], *LINES[2:]), effects=(("b", 2),)), "a handler without an effect"),
    (replace(FIRED, rows=(*NOTED, *(replace(row, notes=True) for row in FIRED.rows[2:]))), "cancelled unbegun"),
    (replace(CLEAN, accepted=("a",), calls=(Call("submit", "b", "unknown", 0.6, "#b"),)), "made, and never told"),
    (_called(Call("submit", "c", "unknown", 0.7, "#c")), "never made, and never told"),
    (_called(Call("submit", "c", "fail", 0.7, "#c")), "refused, and not there"),
    (_called(Call("submit", "a", "fail", 0.8, "#other")), "another request under a taken id"),
    (replace(_joined("b"), moves=(), stops=()), "told of an open task, without a journal"),
    (_joined("b", since=36.1, at=37.0), "told in the very moment of its end"),
    (_joined("b", since=0.3, at=0.4), "told in the very moment of its making"),
    (
        replace(_again("released", releases=1), lines=(*_again("released").lines, Line("a", 1, "says", 3.0, 1))),
        "one attempt's last word is the next one's first",
    ),
    (replace(CLEAN, lease_seconds=None), "whatever a lease is to last"),
    (replace(_changed(A[1], PENDING, replace(RUNNING, lease_until=4.0)), moves=()), "nobody kept the moves"),
    (_of_four_seconds(3.0), "a short lease, a quarter shorter"),
    (_of_four_seconds(4.1), "a short lease, a little longer"),
    (replace(CLEAN, stops=(Stop("q", 20.0, 1.0, 25.0),)), "another node's loss"),
)
"""What happened, and why it is nobody's fault."""

BROKEN: Sequence[tuple[History, str]] = (
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
    (TAKEN_EARLY, "I8 b: taken back 11.00 s before"),
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
    (replace(CLEAN, rows=NOTED, lines=LINES[1:]), "I2 a: completed, and attempt 1 never began"),
    (replace(_called(Call("cancel", "c", "ok", 0.8)), rows=(*CLEAN.rows, Row("c", "cancelled", 0))), "I2 c: nobody"),
    (
        replace(
            _called(Call("submit", "a", "fail", 0.8, "#c")), rows=(replace(CLEAN.rows[0], request_hash="#c"), NOTED[1])
        ),
        "I2 a: its row is of another request",
    ),
    (replace(CLEAN, lines=(*LINES, Line("c", 1, "begin", 1.0, 1))), "I4 c: attempt 1 began, and nobody counted it"),
    (replace(CLEAN, ended=(*CLEAN.ended, Ended("c", 1, "lost"))), "I5 c: attempt 1 ended, of 0"),
    (_joined("b", since=0.1, at=0.2), "I14 c: told of b, which was not open"),
    (_moved(replace(A[0], after=replace(PENDING, status="running")), *A[1:]), "I7 a: it was made running"),
    (_moved(replace(A[0], after=replace(PENDING, attempt=1)), *A[1:]), "I7 a: it was made pending"),
    (_moved(replace(A[0], after=State("cancelled"))), "I7 a: it was made cancelled"),
    (_moved(*A[1:]), "I7 a: nobody saw it being made"),
    (_changed(A[1], PENDING, replace(RUNNING, lease_until=None)), "I4 a: claimed without a token and a lease"),
    (_cancelled(Call("cancel", "a", "fail", 1.5)), "I16 a: cancelled, and nobody asked"),
    (_called(Call("cancel", "a", "ok", 0.4)), "I16 a: pending after its cancel"),
    (_runs_again(_cancelled(Call("cancel", "a", "ok", 3.0))), "I16 a: running after its cancel"),
)
"""What happened, and how the violation that it has to be called begins."""
