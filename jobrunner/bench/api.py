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
    bare: list[Any] = []
    processes = stage.processes
    with (
        stage.told.steps(f"api: {each} requests of {CLIENTS} clients, {scale.rounds} rounds", scale.rounds),
        processes.jobrunner("api") as (server,),
        processes.helper("clients", server=server.ready["url"], concurrency=CLIENTS) as (clients,),
        processes.helper("bare_clients", concurrency=CLIENTS, file=spare) as (inserts,),
    ):
        settle([server, clients, inserts])
        warm = _ask(clients, max(CLIENTS, each // 20))["accepted"]
        _ask(inserts, CLIENTS)
        before = _memory(server)
        for number in range(scale.rounds):
            ours, other = in_turn(number, partial(_ask, clients, each), partial(_ask, inserts, each))
            if ours["accepted"] != each:
                raise BenchFailed(f"{each} tasks were posted: {ours['accepted']} were accepted")
            mine.append(ours)
            bare.append(other)
            stage.told.step(f"api: {each / ours['seconds']:.0f} requests/s, p99 {ours['p99']:.1f} ms")
        after = _memory(server)
    with scratch.database() as database:
        prove_added(database, tasks.NOOP, warm + scale.rounds * each)
        if not scratch.is_sqlite:
            prove_added(database, tasks.BARE, CLIENTS + scale.rounds * each)
    return Measured(
        _figures(each, mine, bare, (before, after), spare), {"ours": scale.rounds * each, "bare": scale.rounds * each}
    )


def _ask(helper: Started, count: int) -> Any:
    helper.tell({"count": count})
    return helper.hear(WITHIN)


def _memory(server: Started) -> float:
    return float(server.family()[0].memory_info().rss / MB)


def _figures(
    each: int, mine: list[Any], bare: list[Any], memory: tuple[float, float], spare: str | None
) -> list[Figure]:
    against = f"{'1 connection' if spare else f'{CLIENTS} connections'}, insert, commit"

    def of(rounds: list[Any], key: str) -> tuple[float, ...]:
        return tuple(each / one["seconds"] if key == "rate" else one[key] for one in rounds)

    lines: tuple[tuple[str, str, bool, Goal | None], ...] = (
        ("rate", "requests/s", True, Goal(1_500, "ours")),
        ("p50", "ms", False, None),
        ("p99", "ms", False, Goal(30, "ours")),
    )
    figures = [
        Figure(f"api {key}", unit, of(mine, key), of(bare, key), against, more, goal) for key, unit, more, goal in lines
    ]
    figures.append(Figure("api memory", "MB", memory[1:], memory[:1], "before the rounds", False, Goal(1.1)))
    return figures
