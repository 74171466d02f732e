"""Running coroutines that never suspend: the plain client has the same logic as the asynchronous one, and no loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, Final, TypeVar

Told = TypeVar("Told")


class _End:
    pass


_END: Final = _End()


def run(work: Coroutine[Any, Any, Told]) -> Told:
    """What ``work`` returns or raises. Whatever it awaits has to do its work before it returns."""
    try:
        work.send(None)
    except StopIteration as done:
        told: Told = done.value
        return told
    work.close()
    raise RuntimeError("a coroutine of the plain client was about to wait for a loop")


def iterate(lines: AsyncGenerator[Told, None]) -> Iterator[Told]:
    """What ``lines`` yields; ends it, and what it holds open, when the iteration ends."""
    try:
        while True:
            line = run(_next(lines))
            if isinstance(line, _End):
                return
            yield line
    finally:
        run(_close(lines))


async def _next(lines: AsyncGenerator[Told, None]) -> Told | _End:
    return await anext(lines, _END)


async def _close(lines: AsyncGenerator[Told, None]) -> None:
    await lines.aclose()
