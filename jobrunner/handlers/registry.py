"""What is registered: handlers, effects and hooks of this process, and the modules they come from."""

from __future__ import annotations

import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobrunner.errors import HandlerError

if TYPE_CHECKING:
    from jobrunner.handlers.declare import Handler

ENTRY_POINTS = "jobrunner.tasks"


@dataclass
class _Registered:
    handlers: dict[str, Handler] = field(default_factory=dict)
    effects: dict[str, Callable[..., Any]] = field(default_factory=dict)
    hooks: dict[str, list[Callable[[], Any]]] = field(default_factory=lambda: {"start": [], "stop": []})
    modules: dict[str, None] = field(default_factory=dict)  # ordered, each once


_now = _Registered()


def load(modules: Sequence[str]) -> None:
    """Import these modules and those of the entry points ``jobrunner.tasks``, and check every handler found.

    Raises HandlerError naming the module and what went wrong in it.
    """
    declared = [point.value.partition(":")[0].strip() for point in entry_points(group=ENTRY_POINTS)]
    for module in (*declared, *modules):
        import_handlers(module)
    for handler in _now.handlers.values():
        _ = handler.arguments


def import_handlers(module: str) -> None:
    """Import one module for what it registers; raises HandlerError naming it and the cause."""
    try:
        import_module(module)
    except HandlerError as error:
        raise HandlerError(f"module {module!r}: {error}") from error
    except ModuleNotFoundError as error:
        raise HandlerError(f"module {module!r} cannot be imported: {error}. {_searched()}") from error
    except (Exception, SystemExit) as error:
        raise HandlerError(f"module {module!r} cannot be imported: {type(error).__name__}: {error}") from error
    _now.modules[module] = None


def _searched() -> str:
    installed = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders = [place for place in sys.path if place and not place.endswith(".zip")]
    own = [place for place in folders if not any(Path(place).is_relative_to(one) for one in installed)]
    return f"Searched: {', '.join(['the installed packages', *own])}; PYTHONPATH names other folders to search"


def modules() -> tuple[str, ...]:
    """The modules to import, in this order, for a process that shall know what this one knows."""
    homes = [*(handler.module for handler in _now.handlers.values()), *(e.__module__ for e in _now.effects.values())]
    return tuple(dict.fromkeys([*_now.modules, *(home for home in homes if home != "__main__")]))


def handlers() -> dict[str, Handler]:
    """All registered handlers by task type."""
    return dict(_now.handlers)


def find(name: str) -> Handler | None:
    """The handler of this task type, or None."""
    return _now.handlers.get(name)


def get(name: str) -> Handler:
    """The handler of this task type; raises HandlerError when there is none."""
    try:
        return _now.handlers[name]
    except KeyError:
        raise HandlerError(f"no handler {name!r} is registered; known: {_known(_now.handlers)}") from None


def effects() -> dict[str, Callable[..., Any]]:
    """All registered effects by name."""
    return dict(_now.effects)


def get_effect(name: str) -> Callable[..., Any]:
    """The effect of this name; raises HandlerError when there is none."""
    try:
        return _now.effects[name]
    except KeyError:
        raise HandlerError(f"no effect {name!r} is registered; known: {_known(_now.effects)}") from None


def hooks(which: str) -> tuple[Callable[[], Any], ...]:
    """The hooks of a worker's ``start`` or ``stop``, as registered."""
    return tuple(_now.hooks[which])


def add_handler(handler: Handler) -> None:
    """Register a handler; another function under the same name is refused with HandlerError."""
    known = _now.handlers.get(handler.name)
    if known is not None and not _same(known.function, handler.function):
        raise HandlerError(f"handler {handler.name!r} is {_place(known.function)} and {_place(handler.function)}")
    _now.handlers[handler.name] = handler


def add_effect(name: str, function: Callable[..., Any]) -> None:
    """Register an effect; another function under the same name is refused with HandlerError."""
    if not name:
        raise HandlerError(f"the effect {_place(function)} needs a name")
    known = _now.effects.get(name)
    if known is not None and not _same(known, function):
        raise HandlerError(f"effect {name!r} is {_place(known)} and {_place(function)}")
    _now.effects[name] = function


def add_hook(which: str, function: Callable[[], Any]) -> None:
    """Register a hook, each function once."""
    if not any(_same(known, function) for known in _now.hooks[which]):
        _now.hooks[which].append(function)


@contextmanager
def isolated() -> Iterator[None]:
    """For tests: an empty registry inside the block, and the former one after it."""
    global _now
    former, _now = _now, _Registered()
    try:
        yield
    finally:
        _now = former


def _same(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    # A reloaded module defines its functions anew: what counts is the place in the source.
    return one is other or _place(one) == _place(other)


def _place(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    line = f":{code.co_firstlineno}" if code else ""
    return f"{function.__module__}.{function.__qualname__}{line}"


def _known(names: dict[str, Any]) -> str:
    return ", ".join(sorted(names)) or "none"
