"""What to do about an error, where its own sentence does not say it."""

from __future__ import annotations

from jobrunner import errors
from jobrunner.client.errors import Refused, Unreachable
from jobrunner.client.trust import TRUST, distrusted

_BY_CODE = {
    "task_not_found": "the newest are told by: jobrunner list",
    "schedule_not_found": "see: jobrunner schedules list",
    "queue_not_found": "see: jobrunner queues list",
    "node_not_found": "see: jobrunner nodes --all",
    "key_not_found": "see: jobrunner keys list",
    "operation_not_found": "see: jobrunner operations list",
    "group_not_found": "see: jobrunner errors",
    "unknown_task_type": "types that there are: jobrunner types; a worker brings more with --handlers PKG.MODULE",
    "queue_full": "try it later, or raise its limit: jobrunner queues limit",
}

_CODES: tuple[tuple[type[Exception], str], ...] = (
    (errors.TaskNotFound, "task_not_found"),
    (errors.ScheduleNotFound, "schedule_not_found"),
    (errors.QueueNotFound, "queue_not_found"),
    (errors.NodeNotFound, "node_not_found"),
    (errors.KeyNotFound, "key_not_found"),
    (errors.OperationNotFound, "operation_not_found"),
    (errors.GroupNotFound, "group_not_found"),
    (errors.UnknownTaskType, "unknown_task_type"),
)


def distrust(error: Exception) -> str | None:
    """What is told where somebody answers whose certificate nobody here vouches for: another one started would not
    help. None for any other error.
    """
    why = distrusted(error)
    if why is None or not isinstance(error, Unreachable):
        return None
    return f"the certificate of {error.url} is not trusted here: {why}"


def hint(error: Exception) -> str | None:
    """What to do about it; None where nobody knows more than it says."""
    if distrust(error):
        return TRUST
    if isinstance(error, Refused):
        if error.status == 403:
            return "a key that may do more is made by: jobrunner keys create NAME --scope ..."
        return _BY_CODE.get(error.code)
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "")
    return _BY_CODE.get(code)
