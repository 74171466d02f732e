"""What no JSON Schema can say of a request, for the fuzzer: that a header and the body must not disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import schemathesis


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Where both ``Idempotency-Key`` and the body name the task, let them name the same one."""
    headers: Mapping[str, Any] = case.headers or {}
    key = headers.get("Idempotency-Key")
    if key is not None and isinstance(case.body, dict) and isinstance(case.body.get("task_id"), str):
        case.body["task_id"] = key
