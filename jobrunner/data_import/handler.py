"""The task type ``data_import``: bars of many symbols from one source into ``market_bars``.

Nothing here loads numpy or pandas before the import itself runs: every process that knows the type reads this file.
"""

from __future__ import annotations

from typing import Any

from jobrunner.data_import import load
from jobrunner.data_import.request import ImportRequest
from jobrunner.handlers import Context, task

TIMEOUT = 3600.0  # seconds; the whole market takes minutes


@task("data_import", timeout=TIMEOUT)
def data_import(request: ImportRequest, ctx: Context) -> dict[str, Any]:
    """Import K-line bars of symbols from a source, one transaction per symbol; a repeat changes nothing.

    Returns the counts of the load and the first failures; raises when no symbol could be imported.
    """
    from jobrunner import settings
    from jobrunner.data_import.run import run
    from jobrunner.data_import.sources import open_source

    found = settings.load().settings
    return run(request, ctx, open_source(request, tdx_root=found.tdx_root, csv_root=found.csv_root))


__all__ = ["data_import", "load"]
