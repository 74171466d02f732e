"""Figures and failures by kind, straight at the database."""

from __future__ import annotations

from jobrunner.client.asking import AtDatabase
from jobrunner.client.desk import Answer
from jobrunner.queue import views
from jobrunner.queue.views import shapes


class LocalFigures:
    """What can be asked about what ended, at the database."""

    def stats(self: AtDatabase) -> Answer:
        with self.looking() as conn:
            counts, queues, ended = views.counts(conn), views.all_queues(conn), views.stats(conn)
        return {
            "counts": {str(status): count for status, count in counts.items()},
            "since": shapes.moment(ended.since),
            "capped": ended.capped,
            "types": [shapes.plain(one) for one in ended.types],
            "ended": [shapes.plain(one) for one in ended.queues],
            "queues": [shapes.plain(one) for one in queues],
        }

    def errors(self: AtDatabase) -> Answer:
        with self.looking() as conn:
            found = views.failures(conn)
        groups = [shapes.plain(one) for one in found.groups]
        return {"errors": groups, "looked_at": found.looked_at, "all": found.all}

    def error(self: AtDatabase, fingerprint: str) -> Answer:
        with self.looking() as conn:
            found = views.failure_group(conn, fingerprint)
        return {**shapes.plain(found.group), "task_ids": found.task_ids}
