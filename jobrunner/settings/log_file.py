"""Whether the log file can be made where it is set."""

from __future__ import annotations

from jobrunner.errors import SettingsError
from jobrunner.settings.keys import Settings


def check_log_file(settings: Settings) -> None:
    """Refuse a log file in a folder that is not there: it may be a slip, and is not made in silence.

    The data directory is made as it is needed, and so is what is in it. Raises SettingsError.
    """
    path = settings.log_file
    if path is None or path.parent.is_dir() or path.is_relative_to(settings.data_dir):
        return
    raise SettingsError(f"log_file: there is no folder {path.parent}; make it: mkdir -p {path.parent}")
