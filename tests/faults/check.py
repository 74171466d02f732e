"""Whether what happened was allowed to: one pure function over a history, which names each broken promise.

The numbers are those of the invariants that the documentation promises.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from jobrunner.queue.task import CRASH_BUDGET, ENDED, LOSS_BUDGET, MOVES, SNOOZE_BUDGET, Status
from jobrunner.queue.views.overview import COUNT_CAP
from tests.faults.history import Call, Firing, History, Row
from tests.faults.journal import Move, State

COUNTED = ("failures", "crashes", "losses", "releases", "snoozes")
CHARGED = {
    "crashed": "crashes",
    "out_of_memory": "crashes",
    "lost": "losses",
    "released": "releases",
    "retry_later": "snoozes",
}
LAWFUL = {(begin, end) for begins, ends in MOVES.values() for begin in begins for end in ends}
TOLERANCE = 1.5  # seconds between a statement's time and the moment at which its trigger ran, on a busy machine
EARLY = 0.1  # seconds by which no trigger can run before its statement, whatever the clock's grain


@dataclass(frozen=True)
class Violation:
    """One broken promise."""

    invariant: str
    task_id: str
    told: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.task_id}: {self.told}"


def check(history: History) -> list[Violation]:
    """Every promise that was broken, in the order of their numbers."""
    found = [*_rows(history), *_attempts(history), *_lines(history), *_effects(history), *_firings(history)]
    for task_id, moves in _by_task(history.moves).items():
        found += [*_moves(task_id, moves), *_leases(task_id, moves, history.lease_seconds, alone=history.alone)]
    found += [*_charges(history), *_unique(history.moves), *_cancels(history), *_stops(history)]
    found += _journal(history)
    return sorted(found, key=lambda one: (int(one.invariant[1:]), one.task_id))


def _rows(history: History) -> Iterator[Violation]:
    """I1 no loss, I2 no invention, I3 what was unknown resolves, I12 everything ends, I20 the counts agree."""
    rows = {row.task_id: row for row in history.rows}
    fired = {one.task_id for one in history.firings}
    begun = {(line.task_id, line.attempt) for line in history.lines if line.what == "begin"}
    asked = {call.task_id for call in history.calls if call.what == "submit"} | set(history.accepted) | fired
    for task_id in sorted({*history.accepted, *fired}):
        if task_id not in rows:
            yield Violation("I1", task_id, "lost")
    for row in history.rows:
        if row.task_id not in asked:
            yield Violation("I2", row.task_id, "nobody asked for it")
        if row.status not in ENDED:
            yield Violation("I12", row.task_id, f"still {row.status}")
        if row.status == "completed" and row.notes and (row.task_id, row.attempt) not in begun:
            yield Violation("I2", row.task_id, f"completed, and attempt {row.attempt} never began")
    yield from _answers(history, rows)
    stand = Counter(row.status for row in history.rows)
    if history.counts is not None and Counter(history.counts) != Counter(
        {status: min(count, COUNT_CAP) for status, count in stand.items()}
    ):
        yield Violation("I20", "-", f"people are told {history.counts}, and there are {dict(stand)}")


def _answers(history: History, rows: Mapping[str, Row]) -> Iterator[Violation]:
    """I2 and I3: one id is one request. I14: who is told of another task was told of the one that has its key."""
    taken: dict[str, set[str]] = defaultdict(set)
    maybe: dict[str, set[str]] = defaultdict(set)
    for call in history.calls:
        if call.what == "submit" and call.request_hash and call.result in ("ok", "unknown"):
            maybe[call.task_id].add(call.request_hash)
            if call.result == "ok":
                taken[call.task_id].add(call.request_hash)
    for task_id, told in maybe.items():
        if task_id in rows and rows[task_id].request_hash not in {None, *told}:
            yield Violation("I2", task_id, "its row is of another request")
        if len(taken[task_id]) > 1:
            yield Violation("I3", task_id, "two different requests were taken under one id")
    by_task = _by_task(history.moves)
    for call in history.calls:
        row = rows.get(call.task_id)
        if (call.what, call.result) == ("submit", "fail") and row is not None and row.request_hash == call.request_hash:
            yield Violation("I3", call.task_id, "the same request under its id was refused")
        if call.joined is not None and history.moves:
            if row is not None:
                yield Violation("I14", call.task_id, f"told of {call.joined}, and made as well")
            if not _was_open(by_task.get(call.joined, []), call):
                yield Violation("I14", call.task_id, f"told of {call.joined}, which was not open with its key then")


def _was_open(moves: Sequence[Move], call: Call) -> bool:
    """Whether the task had the call's key and was open at some moment while it was asked."""
    if not moves or moves[0].unique_key != call.unique_key:
        return False
    ends = [*(move.at for move in moves[1:]), float("inf")]
    return any(
        move.after.status not in ENDED and move.at <= call.at + EARLY and end >= call.since - EARLY
        for move, end in zip(moves, ends, strict=True)
    )


def _attempts(history: History) -> Iterator[Violation]:
    """I5: every attempt has one end. One that went well leaves no row, also where a cancel overtook it.

    I19: what a handler came to by itself is not recorded as a failure.
    """
    came_to_its_end = {(line.task_id, line.attempt) for line in history.lines if line.what == "end"}
    told: dict[str, dict[int, str]] = defaultdict(dict)
    counted = {row.task_id: row.attempt for row in history.rows}
    for one in history.ended:
        if one.attempt in told[one.task_id]:
            yield Violation("I5", one.task_id, f"attempt {one.attempt} ended twice")
        told[one.task_id][one.attempt] = one.outcome
        if one.task_id in counted and not 1 <= one.attempt <= counted[one.task_id]:
            yield Violation("I5", one.task_id, f"attempt {one.attempt} ended, of {counted[one.task_id]}")
        if one.outcome == "error" and (one.task_id, one.attempt) in came_to_its_end:
            yield Violation("I19", one.task_id, f"attempt {one.attempt} went well, and is recorded as failed")
    overtaken = {
        (move.task_id, move.after.attempt)
        for move in history.moves
        if move.before and (move.before.status, move.after.status) == (Status.RUNNING, Status.CANCELLED)
    }
    for row in history.rows:
        silent = {n for n in range(1, row.attempt + 1) if n not in told[row.task_id]}
        unexplained = {n for n in silent if n == row.attempt or (row.task_id, n) not in overtaken}
        lawful = {"completed": [{row.attempt}], "cancelled": [set(), {row.attempt}]}.get(row.status, [set()])
        if row.status in ENDED and unexplained not in lawful:
            told_so = f"{row.status}: of {row.attempt} attempts, {sorted(unexplained)} have no row"
            yield Violation("I5", row.task_id, told_so)


def _lines(history: History) -> Iterator[Violation]:
    """I4: no attempt begins twice, or uncounted. I9: two run at once only where the first one's lease had run out."""
    rows = {row.task_id: row for row in history.rows}
    lost = {(one.task_id, one.attempt) for one in history.ended if one.outcome == "lost"}
    begun = Counter((line.task_id, line.attempt) for line in history.lines if line.what == "begin")
    for (task_id, attempt), times in begun.items():
        if times > 1:
            yield Violation("I4", task_id, f"attempt {attempt} began {times} times")
        if task_id not in rows or attempt > rows[task_id].attempt:
            yield Violation("I4", task_id, f"attempt {attempt} began, and nobody counted it")
    spans: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in history.lines:
        spans[line.task_id][line.attempt].append(line.at)
    for task_id, by_attempt in spans.items():
        for earlier, later in pairwise(sorted(by_attempt)):
            overlap = max(by_attempt[earlier]) - min(by_attempt[later])
            if overlap > 0 and (task_id, earlier) not in lost:
                yield Violation("I9", task_id, f"attempts {earlier} and {later} ran at once for {overlap:.2f} s")


def _effects(history: History) -> Iterator[Violation]:
    """I5: the effects that stand are those of recorded completions, each once."""
    if history.effects is None:
        return
    asked = {(line.task_id, line.attempt) for line in history.lines if line.what == "asks for its effect"}
    wanted = {(row.task_id, row.attempt) for row in history.rows if row.status == "completed"} & asked
    counted = Counter(history.effects)
    for task_id, _ in wanted - counted.keys():
        yield Violation("I5", task_id, "completed without its effect")
    for (task_id, attempt), times in counted.items():
        if (task_id, attempt) not in wanted:
            yield Violation("I5", task_id, f"an effect of attempt {attempt} stands")
        if times > 1:
            yield Violation("I5", task_id, f"its effect stands {times} times")


def _firings(history: History) -> Iterator[Violation]:
    """I13: one task for each instant, and between two of them none that was neither fired nor counted as skipped."""
    of: dict[str, list[Firing]] = defaultdict(list)
    for one in history.firings:
        if not one.manual:
            of[one.schedule].append(one)
    for schedule, fired in of.items():
        for at, times in Counter(one.at for one in fired).items():
            if times > 1:
                yield Violation("I13", schedule, f"{at:.0f} fired {times} times")
        for task_id, times in Counter(one.task_id for one in fired).items():
            if times > 1:
                yield Violation("I13", schedule, f"{times} instants share {task_id}")
        if schedule not in history.every:
            continue
        anchor, every = history.every[schedule]
        fired.sort(key=lambda one: one.at)
        for before, later in [(anchor - every, fired[0]), *((one.at, other) for one, other in pairwise(fired))]:
            if later.at > before and round((later.at - before) / every) != 1 + later.skipped:
                told = f"{later.at - before:g} s from one to the next, {later.skipped} skipped"
                yield Violation("I13", schedule, told)
    for schedule in history.every.keys() - of.keys():
        yield Violation("I13", schedule, "it never fired")


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
        elif after.attempt != before.attempt:
            yield Violation("I4", task_id, f"attempt {before.attempt} became {after.attempt} without a claim")
        if after.status == Status.RUNNING == before.status and after.token != before.token:
            yield Violation("I5", task_id, "the token changed under a running attempt")
        yield from _budgets(task_id, move)


def _budgets(task_id: str, move: Move) -> Iterator[Violation]:
    after = move.after
    limits = {"failures": move.max_attempts, "crashes": CRASH_BUDGET, "losses": LOSS_BUDGET}
    for name, limit in limits.items():
        spent = getattr(after, name)
        if spent > limit or (spent == limit and after.status in (Status.PENDING, Status.RUNNING)):
            yield Violation("I11", task_id, f"{after.status} with {spent} {name} of {limit}")
    before = move.before
    if before and before.status == Status.RUNNING and after.status == Status.PENDING:
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
        if before is None or before.status != Status.RUNNING or after.status not in (Status.PENDING, Status.FAILED):
            continue
        outcome = outcomes.get((move.task_id, before.attempt))
        budgets = {"failures": move.max_attempts, "crashes": CRASH_BUDGET, "losses": LOSS_BUDGET}
        budgets["snoozes"] = SNOOZE_BUDGET
        has_more = all(getattr(after, name) < most for name, most in budgets.items())
        if after.status == Status.FAILED and outcome != "refused" and has_more:
            yield Violation("I11", move.task_id, f"failed by {outcome}, and no budget was spent")
        spent = +_spent(before, after)
        if outcome is not None and set(spent) - {CHARGED.get(outcome, "failures")}:
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


def _journal(history: History) -> Iterator[Violation]:
    """I7: the journal tells of every row from its making to what it is now. I16: nobody is cancelled for nothing."""
    if not history.moves:
        return
    by_task = _by_task(history.moves)
    outcomes = {(one.task_id, one.attempt): one.outcome for one in history.ended}
    cancelled = {call.task_id for call in history.calls if call.what == "cancel" and call.result != "fail"}
    for row in history.rows:
        moves = by_task.get(row.task_id, [])
        if not moves or moves[0].before is not None:
            yield Violation("I7", row.task_id, "nobody saw it being made")
            continue
        last = moves[-1].after
        if (last.status, last.attempt) != (row.status, row.attempt):
            yield Violation("I7", row.task_id, f"it is {row.status}, and the last that was seen is {last.status}")
        for move in moves:
            before, after = move.before, move.after
            if before is None or after.status != Status.CANCELLED or before.status == Status.CANCELLED:
                continue
            asked = before.cancel_asked or outcomes.get((row.task_id, before.attempt)) == "cancelled"
            if not asked and history.calls and row.task_id not in cancelled:
                yield Violation("I16", row.task_id, "cancelled, and nobody asked for that")


def _is_new(before: State | None, after: State) -> bool:
    return before is None or before.lease_until != after.lease_until


def _unique(moves: Sequence[Move]) -> Iterator[Violation]:
    """I14: at no moment do two open tasks have one key."""
    open_of: dict[str, set[str]] = defaultdict(set)
    for move in moves:
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
    by_task = _by_task(history.moves)
    for call in history.calls:
        if call.what != "cancel" or call.result != "ok":
            continue
        moves = by_task.get(call.task_id, [])
        cancelled = max((move.after.generation for move in moves if move.at <= call.at), default=0)
        for move in moves:
            before, after = move.before, move.after
            if move.at <= call.at or before is None or after.generation != cancelled:
                continue
            if after.status not in (Status.CANCELLED, before.status):
                yield Violation("I16", call.task_id, f"{after.status} after its cancel was acknowledged")


def _stops(history: History) -> Iterator[Violation]:
    """I21: a node that was told to stop claims nothing more, charges nobody, and is gone within its grace; no other
    ends.
    """
    for one in history.exits:
        yield Violation("I21", "-", f"node {one.node_id} ended with {one.code}")
    for stop in history.stops:
        for move in history.moves:
            before, after = move.before, move.after
            if before is None or move.at <= stop.at + TOLERANCE:
                continue
            if after.node_id == stop.node_id and (before.status, after.status) == ("pending", "running"):
                yield Violation("I21", move.task_id, f"claimed {move.at - stop.at:.2f} s after its node's SIGTERM")
            held = before.node_id == stop.node_id and before.lease_until is not None and before.lease_until > stop.at
            gone = move.at > stop.at + stop.took  # before that a busy machine may have been too slow to renew
            if held and gone and stop.reaches and after.losses > before.losses:
                yield Violation("I21", move.task_id, "its node was told to stop while it had it, and let it be lost")
        if stop.took > stop.grace + 2.0:
            yield Violation("I21", "-", f"a node took {stop.took:.1f} s to stop, with a grace of {stop.grace:g} s")


def _by_task(moves: Sequence[Move]) -> Mapping[str, list[Move]]:
    ordered = sorted(moves, key=lambda move: move.task_id)  # a stable sort: each one's moves stay in their order
    return {task_id: list(some) for task_id, some in groupby(ordered, key=lambda move: move.task_id)}
