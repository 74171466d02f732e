"""Schedules: listing, adding or replacing, editing, pausing, running now, removing."""

from __future__ import annotations

from starlette.responses import Response

from jobrunner.api import answers
from jobrunner.api.headers import LOCATION
from jobrunner.api.route import Answer, Call, Content, Route
from jobrunner.api.routes.execute import status_path
from jobrunner.api.schemas import ScheduleChange, ScheduleRequest
from jobrunner.background import schedules
from jobrunner.queue import views
from jobrunner.queue.key import Scope
from jobrunner.queue.views import shapes


def listed(call: Call) -> Content:
    """Every schedule, the next to fire first."""
    with call.service.database.read() as conn:
        return shapes.schedules_dict(views.all_schedules(conn))


def one(call: Call) -> Content:
    """One schedule."""
    with call.service.database.read() as conn:
        return shapes.schedule_dict(schedules.found(conn, call.schedule))


def save(call: Call) -> Content:
    """Add a schedule (201), or replace the one of that name (200)."""
    wish: ScheduleRequest = call.body
    told = wish.model_dump(exclude={"name", "task_data"})
    allow_unknown = call.service.settings.allow_unknown_types
    with call.change(wish.name, **schedules.audited(wish.model_dump(mode="json"))) as change:
        known = views.schedule(change.conn, wish.name)
        saved = schedules.save(change.conn, wish.name, **told, payload=wish.task_data, allow_unknown=allow_unknown)
    return Answer(shapes.schedule_dict(saved), 201 if known is None else 200)


def edit(call: Call) -> Content:
    """Change what is given, and keep the rest; an unchanged clock keeps its next instant."""
    wish: ScheduleChange = call.body
    changes = wish.model_dump(exclude_unset=True)
    allow_unknown = call.service.settings.allow_unknown_types
    with call.change(call.schedule, **schedules.audited(changes)) as change:
        return shapes.schedule_dict(schedules.edit(change.conn, call.schedule, changes, allow_unknown=allow_unknown))


def pause(call: Call) -> Content:
    """Stop firing."""
    with call.change(call.schedule) as change:
        return shapes.schedule_dict(schedules.pause(change.conn, call.schedule))


def resume(call: Call) -> Content:
    """Fire again, from the next instant on."""
    with call.change(call.schedule) as change:
        return shapes.schedule_dict(schedules.resume(change.conn, call.schedule))


def run_now(call: Call) -> Content:
    """Submit its task now, besides its instants."""
    with call.change(call.schedule) as change:
        task_id = schedules.run_now(change.conn, call.schedule)
        change.tell(task_id=task_id)
    call.service.wake()
    return Answer({"task_id": task_id, "status": "pending"}, 202, {"Location": status_path(call, task_id)})


def remove(call: Call) -> Content:
    """Delete it; its tasks stay."""
    with call.change(call.schedule) as change:
        schedules.remove(change.conn, call.schedule)
    return Response(status_code=204)


_ALL, _ONE = "/api/v1/schedules", "/api/v1/schedules/{name}"
ROUTES = (
    Route(_ALL, listed, scope=Scope.READ, summary="List schedules", response=answers.Schedules),
    Route(
        _ALL,
        save,
        ("POST",),
        Scope.OPERATE,
        "Add or replace a schedule",
        request=ScheduleRequest,
        response=answers.Schedule,
        statuses=(200, 201),
    ),
    Route(_ONE, one, scope=Scope.READ, summary="One schedule", response=answers.Schedule),
    Route(
        _ONE,
        edit,
        ("PATCH",),
        Scope.OPERATE,
        "Change some of it",
        request=ScheduleChange,
        response=answers.Schedule,
    ),
    Route(f"{_ONE}/pause", pause, ("POST",), Scope.OPERATE, "Stop firing", response=answers.Schedule),
    Route(f"{_ONE}/resume", resume, ("POST",), Scope.OPERATE, "Fire again", response=answers.Schedule),
    Route(
        f"{_ONE}/run",
        run_now,
        ("POST",),
        Scope.OPERATE,
        "Submit its task now",
        response=answers.Accepted,
        statuses=(202,),
        tells=(LOCATION,),
        refuses=(409,),
    ),
    Route(_ONE, remove, ("DELETE",), Scope.OPERATE, "Remove it", statuses=(204,)),
)
