"""What became of each task, move by move, as the journal of its row tells it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from jobrunner.queue.task import CRASH_BUDGET, ENDED, LOSS_BUDGET, MOVES, SNOOZE_BUDGET, Status
from tests.faults.history import Call, History
from tests.faults.journal import Move, State
from tests.faults.violation import EARLY, TOLERANCE, Violation, by_task

FORCED = ("crashed", "out_of_memory", "timeout")  # how a node ends an attempt, and never because it stops
COUNTED = ("failures", "crashes", "losses", "releases", "snoozes")
CHARGED = {
    "crashed": "crashes",
    "out_of_memory": "crashes",
    "lost": "losses",
    "released": "releases",
    "retry_later": "snoozes",
}
CANCEL_WITHIN = 40.0  # seconds, and a lease, in which what was cancelled runs no more: its node may be frozen or dead
LAWFUL = {(begin, end) for begins, ends in MOVES.values() for begin in begins for end in ends}


def _each(history: History) -> Iterator[Violation]:
    for task_id, moves in by_task(history.moves).items():
        yield from _moves(task_id, moves)
        yield from _leases(task_id, moves, history.lease_seconds, alone=history.alone)


def _moves(task_id: str, moves: Sequence[Move]) -> Iterator[Violation]:
    """I4 claims are counted, I6 what ended stays, I7 only lawful moves, I11 budgets; and no gap between two moves."""
    for earlier, later in pairwise(moves):
        if later.before != earlier.after:
            yield Violation("I7", task_id, f"from {earlier.after} it was suddenly {later.before}")
    tokens: set[str | None] = set()
    for move in moves:
        before, after = move.before, move.after
        if before is None:
            if after.status != Status.PENDING or after.attempt:
                yield Violation("I7", task_id, f"it was made {after.status}")
            continue
        if before.status != after.status and (before.status, after.status) not in LAWFUL:
            yield Violation("I7", task_id, f"{before.status} -> {after.status}")
        if before.status in ENDED and after.generation != before.generation + 1:
            yield Violation("I6", task_id, f"it was {before.status}, and is {after.status} in the same generation")
        if (before.status, after.status) == (Status.PENDING, Status.RUNNING):
            if after.attempt != before.attempt + 1:
                yield Violation("I4", task_id, f"claimed, and attempt {before.attempt} became {after.attempt}")
            if after.token in tokens:
                yield Violation("I4", task_id, "a token came twice")
            tokens.add(after.token)
            if after.token is None or after.lease_until is None:
                yield Violation("I4", task_id, "claimed without a token and a lease")
            if before.run_at is not None and before.run_at - move.at > EARLY:
                yield Violation("I18", task_id, f"claimed {before.run_at - move.at:.2f} s before it was due")
        elif after.attempt != before.attempt:
            yield Violation("I4", task_id, f"attempt {before.attempt} became {after.attempt} without a claim")
        if after.status == Status.RUNNING == before.status and after.token != before.token:
            yield Violation("I5", task_id, "the token changed under a running attempt")
        yield from _spending(task_id, move, before, after)


def _budgets(move: Move) -> dict[str, int]:
    return {"failures": move.max_attempts, "crashes": CRASH_BUDGET, "losses": LOSS_BUDGET}


def _spending(task_id: str, move: Move, before: State, after: State) -> Iterator[Violation]:
    for name, limit in _budgets(move).items():
        spent = getattr(after, name)
        if spent > limit or (spent == limit and after.status in (Status.PENDING, Status.RUNNING)):
            yield Violation("I11", task_id, f"{after.status} with {spent} {name} of {limit}")
    if before.status == Status.RUNNING and after.status == Status.PENDING:
        spent = _spent(before, after)
        if spent.total() != 1:
            yield Violation("I11", task_id, f"an attempt was given back, and {spent.total()} were counted")


def _spent(before: State, after: State) -> Counter[str]:
    return Counter({name: getattr(after, name) - getattr(before, name) for name in COUNTED})


def _charges(history: History) -> Iterator[Violation]:
    """I11: an attempt is charged as what its row says it was."""
    outcomes = {(one.task_id, one.attempt): one.outcome for one in history.ended}
    for move in history.moves:
        before, after = move.before, move.after
        if before is None:
            continue
        outcome = outcomes.get((move.task_id, before.attempt))
        budgets = _budgets(move) | {"snoozes": SNOOZE_BUDGET}
        has_more = all(getattr(after, name) < most for name, most in budgets.items())
        if after.status == Status.FAILED and outcome != "refused" and has_more:
            yield Violation("I11", move.task_id, f"failed by {outcome}, and no budget was spent")
        spent = +_spent(before, after)
        if set(spent) - {CHARGED.get(str(outcome), "failures")}:
            told = f"attempt {before.attempt} ended as {outcome}, and was charged as {', '.join(spent)}"
            yield Violation("I11", move.task_id, told)


def _leases(task_id: str, moves: Sequence[Move], lease_seconds: float | None, *, alone: bool) -> Iterator[Violation]:
    """I8: taken back only when it has run out. I18: it lasts as long as was asked, by the database's clock alone."""
    for move in moves:
        before, after = move.before, move.after
        if before and before.lease_until is not None and after.losses > before.losses:
            early = before.lease_until - move.at
            if early > 0 and not alone:
                yield Violation("I8", task_id, f"taken back {early:.2f} s before its lease had run out")
        if lease_seconds is not None and after.lease_until is not None and _is_new(before, after):
            lasts = after.lease_until - move.at
            if not lease_seconds - min(TOLERANCE, lease_seconds / 4) <= lasts <= lease_seconds + EARLY:
                yield Violation("I18", task_id, f"a lease of {lease_seconds:g} s lasts {lasts:.2f} s")


def _is_new(before: State | None, after: State) -> bool:
    return before is None or before.lease_until != after.lease_until


def _journal(history: History) -> Iterator[Violation]:
    """I7: the journal tells of every row from its making to what it is now. I16: nobody is cancelled for nothing."""
    if not history.moves:
        return
    moves_of = by_task(history.moves)
    outcomes = {(one.task_id, one.attempt): one.outcome for one in history.ended}
    cancelled = {call.task_id for call in history.calls if call.what == "cancel" and call.result != "fail"}
    for row in history.rows:
        moves = moves_of.get(row.task_id, [])
        if not moves or moves[0].before is not None:
            yield Violation("I7", row.task_id, "nobody saw it being made")
            continue
        last = moves[-1].after
        if (last.status, last.attempt) != (row.status, row.attempt):
            yield Violation("I7", row.task_id, f"it is {row.status}, and the last that was seen is {last.status}")
        for move in moves:
            before, after = move.before, move.after
            if before is None or after.status != Status.CANCELLED:
                continue
            asked = before.cancel_asked or outcomes.get((row.task_id, before.attempt)) == "cancelled"
            if not asked and history.calls and row.task_id not in cancelled:
                yield Violation("I16", row.task_id, "cancelled, and nobody asked for that")


def _completions(history: History) -> Iterator[Violation]:
    """I5: what is recorded as completed had come to its end by then. Not judged where a clock is wrong."""
    if history.lease_seconds is None:
        return
    finishing = {row.task_id for row in history.rows if row.finishes}
    ends = {(line.task_id, line.attempt): line.at for line in history.lines if line.what == "end"}
    for move in history.moves:
        if move.after.status == Status.COMPLETED and move.task_id in finishing:
            late = ends.get((move.task_id, move.after.attempt), move.at) - move.at
            if late > EARLY:
                yield Violation("I5", move.task_id, f"completed {late:.2f} s before its attempt came to its end")


def _retries(history: History) -> Iterator[Violation]:
    """I6: who was told that it runs again has a new generation, and nobody has one who did not ask."""
    asked = Counter(call.task_id for call in history.calls if call.what == "retry" and call.result == "ok")
    perhaps = Counter(call.task_id for call in history.calls if call.what == "retry" and call.result == "unknown")
    opened = Counter(
        move.task_id for move in history.moves if move.before and move.after.generation > move.before.generation
    )
    if not history.moves or not history.calls:
        return
    for task_id in sorted(asked.keys() | opened.keys()):
        if not asked[task_id] <= opened[task_id] <= asked[task_id] + perhaps[task_id]:
            yield Violation("I6", task_id, f"{asked[task_id]} retries were acknowledged, {opened[task_id]} were made")


def _unique(history: History) -> Iterator[Violation]:
    """I14: at no moment do two open tasks have one key."""
    open_of: dict[str, set[str]] = defaultdict(set)
    for move in history.moves:
        if move.unique_key is None:
            continue
        mine = open_of[move.unique_key]
        if move.after.status in ENDED:
            mine.discard(move.task_id)
        else:
            mine.add(move.task_id)
        if len(mine) > 1:
            yield Violation("I14", move.task_id, f"open with {move.unique_key!r}, as {sorted(mine - {move.task_id})}")


def _cancels(history: History) -> Iterator[Violation]:
    """I16: no claim and no completion follows a cancel that was acknowledged, unless somebody asks for a retry."""
    moves_of = by_task(history.moves)
    for call in history.calls:
        if call.what != "cancel" or call.result != "ok":
            continue
        moves = moves_of.get(call.task_id, [])
        cancelled = max((move.after.generation for move in moves if move.at <= call.at), default=0)
        if history.lease_seconds is not None:
            yield from _obeyed(call, moves, history.lease_seconds + CANCEL_WITHIN)
        for move in moves:
            if move.at <= call.at or move.after.generation != cancelled:
                continue
            was = move.before.status if move.before else None
            if move.after.status not in (Status.CANCELLED, was):
                yield Violation("I16", call.task_id, f"{move.after.status} after its cancel was acknowledged")


def _obeyed(call: Call, moves: Sequence[Move], within: float) -> Iterator[Violation]:
    """Whether what ran at an acknowledged cancel soon ran no more."""
    known = [move for move in moves if move.at <= call.at]
    if not known or known[-1].after.status != Status.RUNNING:
        return
    for move in moves[len(known) :]:
        if move.after.status != Status.RUNNING:
            if move.at - call.at > within:
                yield Violation("I16", call.task_id, f"it ran on for {move.at - call.at:.1f} s after its cancel")
            return


def _stops(history: History) -> Iterator[Violation]:
    """I21: a node that was told to stop claims nothing more, charges nobody, and is gone within its grace; no other
    ends.
    """
    for one in history.exits:
        yield Violation("I21", "-", f"node {one.node_id} ended with {one.code}")
    outcomes = {(one.task_id, one.attempt): one.outcome for one in history.ended}
    dying = {row.task_id for row in history.rows if row.dies}
    for stop in history.stops:
        if stop.took > stop.grace + 2.0:
            yield Violation("I21", "-", f"a node took {stop.took:.1f} s to stop, with a grace of {stop.grace:g} s")
        if not stop.reaches:  # a silent link keeps what was sent before the signal for when it speaks again
            continue
        for move in history.moves:
            before, after = move.before, move.after
            if before is None or move.at <= stop.at:
                continue
            outcome = outcomes.get((move.task_id, before.attempt))
            forced = outcome in FORCED and not stop.hurt and move.task_id not in dying
            if before.node_id == stop.node_id and before.status == Status.RUNNING != after.status and forced:
                yield Violation("I21", move.task_id, f"its node was told to stop, and it was charged as {outcome}")
            if move.at <= stop.at + TOLERANCE:
                continue
            if after.node_id == stop.node_id and (before.status, after.status) == ("pending", "running"):
                yield Violation("I21", move.task_id, f"claimed {move.at - stop.at:.2f} s after its node's SIGTERM")
            held = before.node_id == stop.node_id and before.lease_until is not None and before.lease_until > stop.at
            gone = move.at > stop.at + stop.took  # before that a busy machine may have been too slow to renew
            if held and gone and stop.heard and after.losses > before.losses:
                yield Violation("I21", move.task_id, "its node was told to stop while it had it, and let it be lost")


JUDGES = (_each, _charges, _journal, _completions, _retries, _unique, _cancels, _stops)
