"""The environment that child processes get: this process's, without what configures or unlocks jobrunner itself."""

from __future__ import annotations

import os

from jobrunner.settings.keys import Settings, variables

HANDED_ON = ("data_dir", "tdx_root", "csv_root", "cache_dir", "cache_size_mb", "enable_caching")


def child_environment(settings: Settings) -> dict[str, str]:
    """The environment for handlers in child processes: no database URL and no key, but where the data is.

    What a handler reads by :func:`jobrunner.settings.load` is then what this process runs with, flags included.
    """
    ours = {name for key in Settings.model_fields for name in variables(key)}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    for key in HANDED_ON:
        value = getattr(settings, key)
        if value is not None:
            kept[variables(key)[0]] = str(value)
    return kept
