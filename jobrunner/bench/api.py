"""``POST /api/v1/task/execute`` on one server process, by clients in another, beside the same rows inserted bare."""

from __future__ import annotations

from functools import partial
from typing import Any

from jobrunner.bench import tasks
from jobrunner.bench.errors import BenchFailed
from jobrunner.bench.figure import Figure, Goal, Measured
from jobrunner.bench.processes import Started, settle
from jobrunner.bench.rounds import in_turn
from jobrunner.bench.rows import prove_added
from jobrunner.bench.stage import Stage

CLIENTS = 8
WITHIN = 1800.0  # seconds for one round
MB = 2**20


def api(stage: Stage) -> Measured:
    """Requests a second, their p50 and p99, and the server's memory before and after all rounds."""
    scale, scratch = stage.scale, stage.scratch
    scratch.clear()
    each = scale.requests // CLIENTS * CLIENTS
    spare = scratch.spare() if scratch.is_sqlite else None
    mine: list[Any] = []
    named: list[Any] = []
    bare: list[Any] = []
    processes = stage.processes
    with (
        stage.told.steps(f"api: {each} requests of {CLIENTS} clients, {scale.rounds} rounds", scale.rounds),
        processes.jobrunner("api") as (server,),
        processes.helper("clients", server=server.ready["url"], concurrency=CLIENTS) as (clients,),
        processes.helper("bare_clients", concurrency=CLIENTS, file=spare) as (inserts,),
    ):
        settle([server, clients, inserts])
        warm = sum(_ask(clients, max(CLIENTS, each // 20), named)["accepted"] for named in (False, True))
        _ask(inserts, CLIENTS)
        before = _memory(server)
        for number in range(scale.rounds):
            ours, other = in_turn(number, partial(_both, clients, each), partial(_ask, inserts, each))
            mine.append(ours[0])
            named.append(ours[1])
            bare.append(other)
            told = (f"{each / one['seconds']:.0f} requests/s, p99 {one['p99']:.1f} ms" for one in ours)
            stage.told.step(f"api: {'; with a task_id: '.join(told)}")
        after = _memory(server)
    with scratch.database() as database:
        prove_added(database, tasks.NOOP, warm + 2 * scale.rounds * each)
        if not scratch.is_sqlite:
            prove_added(database, tasks.BARE, CLIENTS + scale.rounds * each)
    against = f"{'1 connection' if spare else f'{CLIENTS} connections'}, insert, commit"
    figures = [
        *_figures("api", each, mine, bare, against),
        *_figures("api, own task_id,", each, named, bare, against),
        Figure("api memory", "MB", (after,), (before,), "before the rounds", False, Goal(1.1)),
    ]
    return Measured(figures, {"ours": 2 * scale.rounds * each, "bare": scale.rounds * each})


def _both(clients: Started, count: int) -> tuple[Any, Any]:
    told = _ask(clients, count), _ask(clients, count, True)
    for one in told:
        if one["accepted"] != count:
            raise BenchFailed(f"{count} tasks were posted: {one['accepted']} were accepted")
    return told


def _ask(helper: Started, count: int, named: bool = False) -> Any:
    helper.tell({"count": count, "named": named})
    return helper.hear(WITHIN)


def _memory(server: Started) -> float:
    return float(server.family()[0].memory_info().rss / MB)


def _figures(name: str, each: int, mine: list[Any], bare: list[Any], against: str) -> list[Figure]:
    def of(rounds: list[Any], key: str) -> tuple[float, ...]:
        return tuple(each / one["seconds"] if key == "rate" else one[key] for one in rounds)

    lines: tuple[tuple[str, str, bool, Goal | None], ...] = (
        ("rate", "requests/s", True, Goal(1_500, "ours")),
        ("p50", "ms", False, None),
        ("p99", "ms", False, Goal(30, "ours")),
    )
    return [
        Figure(f"{name} {key}", unit, of(mine, key), of(bare, key), against, more, goal)
        for key, unit, more, goal in lines
    ]
