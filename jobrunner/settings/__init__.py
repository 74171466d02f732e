"""Settings: flags > environment > JSON file > default, and where each value came from.

Only this package reads the environment. Its names load on first use: a child process that asks for failpoints alone
does not pay for pydantic.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobrunner.settings.door import check_door, check_tls
    from jobrunner.settings.keys import DEFAULT_PORT, Settings
    from jobrunner.settings.loading import Loaded, load
    from jobrunner.settings.showing import shown
    from jobrunner.settings.starter import start_file

_HOMES = {
    "DEFAULT_PORT": "keys",
    "Loaded": "loading",
    "Settings": "keys",
    "check_door": "door",
    "check_tls": "door",
    "load": "loading",
    "shown": "showing",
    "start_file": "starter",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = ["DEFAULT_PORT", "Loaded", "Settings", "check_door", "check_tls", "load", "shown", "start_file"]
