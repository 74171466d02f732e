"""Whether the interpreter ends: a program that did not close what it opened leaves threads that go on for a while."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor


def ends() -> bool:
    """Whether no thread of a pool takes anything any more: it is told to whoever asks for one, and nowhere else."""
    try:
        with ThreadPoolExecutor(1) as asked:
            asked.submit(int)
    except RuntimeError as error:  # of the same kind is that there are too many threads
        return "interpreter shutdown" in str(error)
    return False
