"""Figures of the last hour, and failed tasks of one kind together."""

from __future__ import annotations

from jobrunner.api.answers_fleet import FailureAnswer, FailuresAnswer, StatsAnswer
from jobrunner.api.route import Call, Content, Route
from jobrunner.errors import GroupNotFound
from jobrunner.queue import views
from jobrunner.queue.key import Scope
from jobrunner.queue.views import shapes


def stats(call: Call) -> Content:
    """Tasks by status, queues as they stand, and what ended within an hour by type and queue; the latest 20,000."""
    with call.service.database.read() as conn:
        counts = views.counts(conn)
        queues = views.all_queues(conn)
        ended = views.stats(conn)
    return {
        "counts": {str(status): count for status, count in counts.items()},
        "since": shapes.moment(ended.since),
        "capped": ended.capped,
        "types": [shapes.plain(one) for one in ended.types],
        "ended": [shapes.plain(one) for one in ended.queues],
        "queues": [shapes.plain(one) for one in queues],
    }


def errors(call: Call) -> Content:
    """Groups of the newest 2,000 failed tasks of this caller's queues, the one that failed last first."""
    with call.service.database.read() as conn:
        found = views.failures(conn, call.caller.queues)
    groups = [shapes.plain(one) for one in found.groups]
    return {"errors": groups, "looked_at": found.looked_at, "all": found.all}


def error(call: Call) -> Content:
    """One group, with the ids of its latest 200 tasks."""
    with call.service.database.read() as conn:
        found = views.failure_group(conn, call.name("fingerprint", GroupNotFound), call.caller.queues)
    return {**shapes.plain(found.group), "task_ids": found.task_ids}


_ERRORS = "/api/v1/errors"
ROUTES = (
    Route("/api/v1/stats", stats, scope=Scope.READ, summary="Figures of the last hour", response=StatsAnswer),
    Route(_ERRORS, errors, scope=Scope.READ, summary="Failures by kind", response=FailuresAnswer, by_queue=True),
    Route(
        f"{_ERRORS}/{{fingerprint}}",
        error,
        scope=Scope.READ,
        summary="Failures of one kind",
        response=FailureAnswer,
        by_queue=True,
    ),
)
