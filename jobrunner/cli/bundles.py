"""Options that many commands share, as one parameter: a frozen dataclass whose fields are options."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

KEYWORD = inspect.Parameter.KEYWORD_ONLY


def bundled(command: Callable[..., Any]) -> Callable[..., Any]:
    """``command`` as typer wants it: each parameter whose type is such a dataclass gives way to its fields."""
    parameters: list[inspect.Parameter] = []
    bundles: dict[str, tuple[Any, list[str]]] = {}  # each class, and the names of its fields
    for one in inspect.signature(command, eval_str=True).parameters.values():
        if not is_dataclass(one.annotation):
            parameters.append(one.replace(kind=KEYWORD))
            continue
        hints = get_type_hints(one.annotation, include_extras=True)
        for field in fields(one.annotation):
            parameters.append(
                inspect.Parameter(field.name, KEYWORD, default=field.default, annotation=hints[field.name])
            )
        bundles[one.name] = (one.annotation, [field.name for field in fields(one.annotation)])

    @functools.wraps(command)
    def called(**given: Any) -> Any:
        made = {name: make(**{field: given.pop(field) for field in names}) for name, (make, names) in bundles.items()}
        return command(**given, **made)

    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # which inspect looks at first
    called.__annotations__ = {one.name: one.annotation for one in parameters}
    return called
