"""Hands a running process to the API: the one place that knows both."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jobrunner.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from jobrunner.api.service import NodeFacts
    from jobrunner.runtime import Process


def make_app(process: Process) -> Any:
    """The ASGI application of a process."""
    from jobrunner.api.app import create_app
    from jobrunner.api.service import Service

    app = create_app(
        Service(
            settings=process.settings,
            database=process.database,
            node=_facts_of(process) if process.identity else None,
            shutdown=process.shutdown,
            wake=process.wake,
            cancel_hint=process.cancel_hint,
            ends=process.ends,
            stopping=lambda: process.draining,
        )
    )
    with suppress(DatabaseUnavailable):  # what it knows at its start it goes by when the database is lost
        app.state.keyring.look()
    return app


def _facts_of(process: Process) -> Any:
    from jobrunner.api.service import NodeFacts

    identity, state = process.identity, process.state
    assert identity is not None
    assert state is not None

    def facts() -> NodeFacts:
        figures = state.figures
        return NodeFacts(
            node_id=identity.id,
            node_name=identity.name,
            state=state.state,
            max_workers=identity.slots,
            running=state.running,
            completed=state.completed,
            failed=state.failed,
            busy_seconds=state.busy_seconds,
            uptime_seconds=state.uptime,
            cpu_percent=figures.cpu_percent,
            memory_percent=figures.memory_percent,
            disk_percent=figures.disk_percent,
            cpu_count=figures.cpu_count,
            memory_total=figures.memory_total,
            types=identity.types,
        )

    return facts
