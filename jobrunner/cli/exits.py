"""What a command's exit code means, and which error leads to which; told to users in web/docs/cli.md."""

from __future__ import annotations

from enum import IntEnum

from jobrunner import errors
from jobrunner.client.errors import OutcomeUnknown, Refused, Unreachable


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    INTERNAL = 1
    USAGE = 2  # the command or the settings must change first
    NOT_FOUND = 3
    TASK_FAILED = 4  # wait, submit --wait; and status --check when all is not well
    TASK_CANCELLED = 5
    TIMED_OUT = 6  # waiting ended, the task goes on
    UNREACHABLE = 7  # server or database, or they say: later
    NOT_PERMITTED = 8
    CONFLICT = 9
    INTERRUPTED = 130  # Ctrl-C, or no where a command asked whether to go on


_BY_ERROR: tuple[tuple[type[Exception], Exit], ...] = (
    (errors.SettingsError, Exit.USAGE),
    (errors.SchemaMismatch, Exit.USAGE),
    (errors.DatabaseLocked, Exit.USAGE),
    (errors.HandlerError, Exit.USAGE),
    (errors.InvalidInput, Exit.USAGE),
    (errors.DatabaseUnavailable, Exit.UNREACHABLE),
    (Unreachable, Exit.UNREACHABLE),
    (OutcomeUnknown, Exit.UNREACHABLE),
    (errors.TaskNotFound, Exit.NOT_FOUND),
    (errors.ScheduleNotFound, Exit.NOT_FOUND),
    (errors.KeyNotFound, Exit.NOT_FOUND),
    (errors.QueueNotFound, Exit.NOT_FOUND),
    (errors.NodeNotFound, Exit.NOT_FOUND),
    (errors.OperationNotFound, Exit.NOT_FOUND),
    (errors.GroupNotFound, Exit.NOT_FOUND),
    (errors.KeyReplaced, Exit.CONFLICT),
    (errors.TaskExists, Exit.CONFLICT),
    (errors.StateConflict, Exit.CONFLICT),
    (errors.NodeAlive, Exit.CONFLICT),
)

_BY_STATUS = {
    401: Exit.NOT_PERMITTED,
    403: Exit.NOT_PERMITTED,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    429: Exit.UNREACHABLE,  # a full queue, or a key that asks too often: later
    503: Exit.UNREACHABLE,
}


def exit_of(error: Exception) -> Exit:
    """The exit code that an error leads to."""
    if isinstance(error, Refused):
        other = Exit.USAGE if 400 <= error.status < 500 else Exit.INTERNAL
        return _BY_STATUS.get(error.status, other)
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), Exit.INTERNAL)
