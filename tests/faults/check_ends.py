"""What callers were told, what handlers wrote and what stands at the end, judged without the journal."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from jobrunner.queue.task import ENDED, Status
from jobrunner.queue.views.overview import COUNT_CAP
from tests.faults.history import Call, Firing, History, Row
from tests.faults.journal import Move
from tests.faults.violation import EARLY, Violation, by_task

GAP = 15.0  # seconds more than its interval in which a schedule may not fire: outages, and all workers frozen at once


def _rows(history: History) -> Iterator[Violation]:
    """I1 no loss, I2 no invention, I3 what was unknown resolves, I5 a completed attempt came to its end and gave its
    own result, I12 everything ends, I20 the counts agree.
    """
    rows = {row.task_id: row for row in history.rows}
    fired = {one.task_id for one in history.firings}
    begun = {(line.task_id, line.attempt) for line in history.lines if line.what == "begin"}
    came_to_its_end = {(line.task_id, line.attempt) for line in history.lines if line.what == "end"}
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
        if row.status == "completed" and row.finishes and (row.task_id, row.attempt) not in came_to_its_end:
            yield Violation("I5", row.task_id, f"completed, and attempt {row.attempt} never came to its end")
        if row.status == "completed" and row.notes and row.result != (row.task_id, row.attempt):
            yield Violation("I5", row.task_id, f"completed by attempt {row.attempt}, with the result of {row.result}")
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
        if call.request_hash and call.result in ("ok", "unknown"):
            maybe[call.task_id].add(call.request_hash)
            if call.result == "ok":
                taken[call.task_id].add(call.request_hash)
    for task_id, told in maybe.items():
        if task_id in rows and rows[task_id].request_hash not in {None, *told}:
            yield Violation("I2", task_id, "its row is of another request")
        if len(taken[task_id]) > 1:
            yield Violation("I3", task_id, "two different requests were taken under one id")
    moves_of = by_task(history.moves)
    for call in history.calls:
        row = rows.get(call.task_id)
        if (call.what, call.result) == ("submit", "fail") and row is not None and row.request_hash == call.request_hash:
            yield Violation("I3", call.task_id, "the same request under its id was refused")
        if call.joined is not None and history.moves:
            if row is not None:
                yield Violation("I14", call.task_id, f"told of {call.joined}, and made as well")
            if not _was_open(moves_of.get(call.joined, []), call):
                yield Violation("I14", call.task_id, f"told of {call.joined}, which was not open with its key then")


def _was_open(moves: Sequence[Move], call: Call) -> bool:
    """Whether the task had the call's key and was open at some moment while it was asked."""
    ends = [*(move.at for move in moves[1:]), float("inf")]
    return any(
        move.unique_key == call.unique_key
        and move.after.status not in ENDED
        and move.at <= call.at + EARLY
        and end >= call.since - EARLY
        for move, end in zip(moves, ends, strict=False)
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
        if not 1 <= one.attempt <= counted.get(one.task_id, 0):
            yield Violation("I5", one.task_id, f"attempt {one.attempt} ended, of {counted.get(one.task_id, 0)}")
        if one.outcome == "error" and (one.task_id, one.attempt) in came_to_its_end:
            yield Violation("I19", one.task_id, f"attempt {one.attempt} went well, and is recorded as failed")
    overtaken = {
        (move.task_id, move.after.attempt)
        for move in history.moves
        if move.before and (move.before.status, move.after.status) == (Status.RUNNING, Status.CANCELLED)
    }
    for row in history.rows:
        silent = {n for n in range(1, row.attempt + 1) if n not in told[row.task_id]}
        unexplained = {n for n in silent if (row.task_id, n) not in overtaken}
        lawful = {"completed": [{row.attempt}], "cancelled": [set(), {row.attempt}]}.get(row.status, [set()])
        if unexplained not in lawful:
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
    """I13: one task for each instant, and between two of them none that was neither fired nor counted as skipped, for
    long only where nobody could.
    """
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
        for before, later in [(anchor, fired[0]), *((one.at, other) for one, other in pairwise(fired))]:
            if round((later.at - before) / every) != 1 + later.skipped:
                told = f"{later.at - before:g} s from one to the next, {later.skipped} skipped"
                yield Violation("I13", schedule, told)
        moments = [anchor, *(one.at for one in fired), history.paused.get(schedule, fired[-1].at)]
        for before, moment in pairwise(moments):
            if moment - before > every + GAP and schedule in history.paused:
                yield Violation("I13", schedule, f"it did not fire for {moment - before:.0f} s")
    for schedule in history.every.keys() - of.keys():
        yield Violation("I13", schedule, "it never fired")


JUDGES = (_rows, _attempts, _lines, _effects, _firings)
