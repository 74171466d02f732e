"""``python -m jobrunner``, the same as the command ``jobrunner``; as small as it can be, since its own import is not
guarded: Ctrl-C while the rest is imported ends it without a traceback.
"""

import sys
from typing import NoReturn

INTERRUPTED = 130  # Exit.INTERRUPTED, which is not imported yet


def run() -> NoReturn:
    """The console script."""
    try:
        from jobrunner.cli.main import run as command

        command()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":  # a spawned child imports this file under another name
    run()
