"""``up --open``: the page in the reader's browser."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from jobrunner.cli.output import talk

if TYPE_CHECKING:
    from jobrunner.runtime import Process

WITHIN = 10.0  # seconds; some browsers end only when they are closed, which nobody waits for
OPEN = "import sys, webbrowser; sys.exit(not webbrowser.open(sys.argv[1]))"


def open_page(process: Process) -> None:
    """Show the page of a process that serves; where there is no browser, say so."""
    if process.settings.root_path:
        talk(f"--open: the page is where a proxy serves it, under {process.settings.root_path}")
    elif process.url is not None and not _opened(f"{process.url}/"):
        talk(f"No browser is here to open the page with; it is at {process.url}")


def _opened(url: str) -> bool:
    """A process that ends opens it: a browser that descends from us would count as memory of our tasks."""
    try:
        done = subprocess.run(  # noqa: S603 - our own address, to our own interpreter
            [sys.executable, "-I", "-c", OPEN, url],
            stdin=subprocess.DEVNULL,  # a browser in the terminal would take it from us
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C ends us, and not what the reader looks at
            timeout=WITHIN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True
    return done.returncode == 0
