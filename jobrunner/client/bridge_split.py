"""A ``data_import`` in parts, one for each database, and one truthful result of all. Values only: no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobrunner.client.bridge_values import BridgeTask, TaskResult
from jobrunner.queue.task import Status
from jobrunner.text import NAME_MAX

SPLITS = "data_import"
COUNTS = (
    "symbols_count",
    "imported_count",
    "total_records",
    "inserted",
    "updated",
    "unchanged",
    "rejected",
    "empty_count",
    "failed_count",
    "warnings_count",
)
LISTS = ("failures", "warnings")
_WORST_FIRST = (Status.RUNNING, Status.PENDING, Status.FAILED, Status.CANCELLED)


@dataclass(frozen=True)
class Part:
    """One part of an import: the task that a node gets, and its symbols."""

    task: BridgeTask
    symbols: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A request that went its way in parts."""

    request_hash: str
    parts: list[Part]


def parts(task: BridgeTask, count: int) -> list[Part]:
    """``task`` in at most ``count`` parts of nearly as many symbols each, in their order; empty where it is one task.

    The ids of parts tell which part of how many they are, so that the same call makes the same parts.
    """
    if task.task_type != SPLITS or count < 2:
        return []
    symbols = _symbols(task)
    count = min(count, len(symbols))
    if count < 2 or len(f"{task.task_id}.{count}of{count}") > NAME_MAX:
        return []
    size, more = divmod(len(symbols), count)
    found, start = [], 0
    for number in range(1, count + 1):
        end = start + size + (number <= more)
        mine = tuple(name for names in symbols[start:end] for name in names)
        data = {**task.task_data, "symbols": list(mine)}
        found.append(Part(replace(task, task_id=f"{task.task_id}.{number}of{count}", task_data=data), mine))
        start = end
    return found


def _symbols(task: BridgeTask) -> list[tuple[str, ...]]:
    """Each symbol once, under the first of its names; one that stood in two parts would be counted twice.

    A bare code stays beside all symbols of this code: which of them it means, only the source knows.
    """
    given = task.task_data.get("symbols")
    if not isinstance(given, Sequence) or isinstance(given, str) or not all(isinstance(one, str) for one in given):
        return []
    by_code: dict[str, dict[str | None, str]] = {}
    for name in given:
        market, code = _read(name)
        by_code.setdefault(code, {}).setdefault(market, name)
    found: list[tuple[str, ...]] = []
    for names in by_code.values():
        found += [tuple(names.values())] if None in names else [(name,) for name in names.values()]
    return found


def _read(name: str) -> tuple[str | None, str]:
    """A symbol as the import reads it. What it cannot read fails there, under the name that was given."""
    from jobrunner.data_import.errors import BadSymbol  # these bring SQLAlchemy, which few programs with nodes need
    from jobrunner.data_import.symbols import split_symbol

    try:
        return split_symbol(name)
    except BadSymbol:
        return None, name


def merged(task: BridgeTask, made: Sequence[Part], results: Sequence[TaskResult]) -> TaskResult:
    """One result of all parts, as the whole import would have had it; counts are those that parts told, none invented.

    A part that did not complete stays: its symbols are counted and named with its error. Where it came to its end and
    only its symbols failed, the whole is ``completed`` as long as another's did not.
    """
    told = list(zip(made, results, strict=True))
    some = any(result.status is Status.COMPLETED for result in results)
    bad = [
        (part, result)
        for part, result in told
        if result.status is not Status.COMPLETED and not (some and _only_symbols_failed(result))
    ]
    statuses = [result.status for _, result in bad]
    status = next((one for one in _WORST_FIRST if one in statuses), Status.COMPLETED)
    ended = all(result.ended for result in results)
    return TaskResult(
        task_id=task.task_id,
        status=status,
        result=_counted(task, told, status),
        error="; ".join(f"part {part.task.task_id} ({_named(part)}): {_why(result)}" for part, result in bad) or None,
        execution_time=max(result.execution_time for result in results),
        started_at=min((one.started_at for one in results if one.started_at), default=None),
        completed_at=max((one.completed_at for one in results if one.completed_at), default=None) if ended else None,
        node_id=None,
    )


def _counted(task: BridgeTask, told: list[tuple[Part, TaskResult]], status: Status) -> dict[str, Any]:
    outcomes = [_outcome(part, result) for part, result in told]
    known = [name for name in COUNTS if all(isinstance(one.get(name), int) for one in outcomes)]
    lists = [name for name in LISTS if any(name in one for one in outcomes)]
    first = [one["first"] for one in outcomes if one.get("first")]
    last = [one["last"] for one in outcomes if one.get("last")]
    return {
        "task_type": SPLITS,
        **{name: sum(one[name] for one in outcomes) for name in known},
        "data_source": next((one["data_source"] for one in outcomes if one.get("data_source")), _source(task)),
        "status": str(status),
        **{name: [each for one in outcomes for each in one.get(name) or []] for name in lists},
        "first": min(first, default=None),
        "last": max(last, default=None),
        "parts": [
            {
                "task_id": part.task.task_id,
                "node_id": result.node_id,
                "status": str(result.status),
                "symbols": list(part.symbols),
                "load_id": (result.result or {}).get("load_id"),
                "error": result.error,
            }
            for part, result in told
        ],
    }


def _outcome(part: Part, result: TaskResult) -> Mapping[str, Any]:
    """What a part told. One that did not complete told nothing: what it stored before its end is in no count."""
    if result.status is Status.COMPLETED:
        return result.result or {}
    why = _why(result)
    return {
        **dict.fromkeys(COUNTS, 0),
        "symbols_count": len(part.symbols),
        "failed_count": len(part.symbols) if result.ended else 0,
        "failures": [{"symbol": symbol, "reason": why} for symbol in part.symbols] if result.ended else [],
    }


def _only_symbols_failed(result: TaskResult) -> bool:
    from jobrunner.data_import.outcome import is_nothing_imported

    return result.status is Status.FAILED and is_nothing_imported(result.error or "")


def _named(part: Part) -> str:
    return ", ".join(part.symbols[:3]) + (f" and {len(part.symbols) - 3} more" if len(part.symbols) > 3 else "")


def _why(result: TaskResult) -> str:
    return result.error or str(result.status)


def _source(task: BridgeTask) -> Any:
    return task.task_data.get("data_source") or task.task_data.get("source") or "tongdaxin"
