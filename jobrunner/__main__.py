"""``python -m jobrunner``, the same as the command ``jobrunner``."""

from jobrunner.cli.main import run

if __name__ == "__main__":  # a spawned child imports this file under another name
    run()
