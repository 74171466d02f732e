"""The program in a child process: runs one handler after the other, for as long as its worker lives."""

from __future__ import annotations

import dataclasses
import faulthandler
import io
import logging
import os
import socket
import sys
from typing import Any

from jobrunner.errors import HandlerError
from jobrunner.execution import posix
from jobrunner.execution.attempt import Stopped, failed, perform
from jobrunner.execution.capture import AttemptLog
from jobrunner.execution.child_channel import ChildChannel
from jobrunner.execution.left_threads import LeftThreads
from jobrunner.execution.link import Link
from jobrunner.execution.own_database import OwnDatabase
from jobrunner.execution.wire import Message, WireError
from jobrunner.handlers import registry
from jobrunner.handlers.context import Context
from jobrunner.handlers.declare import Handler
from jobrunner.queue.task import Ending, Lease, Outcome, Task

_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Outcome)[1:]}
_WITHOUT_EXTRAS = (Ending.COMPLETED, Ending.RETRY_LATER)


class Child:
    """What one child process holds between two messages."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._database = OwnDatabase(self._find_url)
        self._broken: dict[str, str] = {}
        self._streams = sys.stdout, sys.stderr
        self._peak = 0  # bytes, as last told
        self._former: Task | None = None
        self.context: Context | None = None

    def load(self, modules: list[str]) -> None:
        """Import what the worker's handlers come from. What fails is told by the tasks that need it."""
        for module in modules:
            try:
                registry.import_handlers(module)
            except HandlerError as error:
                self._broken[module] = str(error)

    def serve(self) -> None:
        """Run tasks until the worker hangs up."""
        self._threads = LeftThreads()  # what modules set up when they are imported is there for all tasks
        self._footing = posix.Footing()
        while True:
            try:
                message = self._link.receive()
            except (EOFError, OSError):
                return
            if message.get("op") == "run":
                self._run(message)
            if self._link.forked:  # a handler forked, and its copy came back here
                os._exit(0)

    def _run(self, message: Message) -> None:
        lease, *facts = message["task"]
        task = Task(Lease(*lease), *facts)
        if (left := self._threads.look(self._former)) is not None:
            self._link.send({"op": "threads", "count": left.count, "told": left.told})
        self._former = task
        number = self._link.begin()
        channel = ChildChannel(task, self._link, number, self._database if message["own"] else None, message["limit"])
        try:
            outcome = self._attempt(task, message["module"], channel, message["limit"])
        except Stopped as error:  # it came between the handler and us
            outcome = failed(error)
        posix.disarm()
        channel.close()
        end: Message = {"op": "end", "outcome": _told(outcome)}
        if not (self._flush() and self._footing.regain()) or posix.has_children():
            end["worn"] = True
        self._link.end()
        if channel.seen:
            end["asked"] = True
        if (peak := posix.peak_memory()) > self._peak:
            end["peak"] = self._peak = peak
        if outcome.ending not in _WITHOUT_EXTRAS:
            end["now"] = posix.memory_now()
        try:
            self._link.send(end)
        except (TypeError, ValueError, RecursionError, WireError) as error:  # an effect's rows
            self._link.send(end | {"outcome": _told(failed(error))})

    def _flush(self) -> bool:
        """Send on what was printed; False where a handler closed what the next one would print to."""
        sound = True
        for stream, number in zip(self._streams, (1, 2), strict=True):
            try:
                stream.flush()
                os.get_inheritable(number)  # the cheapest question that a closed file does not answer
            except (OSError, ValueError):
                sound = False
        sys.stdout, sys.stderr = self._streams
        return sound

    def _attempt(self, task: Task, module: str, channel: ChildChannel, limit: float) -> Outcome:
        try:
            handler = self._handler(task.task_type, module)
        except HandlerError as error:
            return failed(error)
        self.context = context = Context(task, channel)
        outcome = perform(task, handler, context)
        self.context = None
        if channel.settled is not None:
            return channel.settled
        if outcome.ending is Ending.COMPLETED and outcome.effects and channel.database is not None:
            return channel.database.complete(task, outcome, limit)
        return outcome

    def _handler(self, name: str, module: str) -> Handler:
        if name in registry.handlers():
            return registry.get(name)
        if module == "__main__":
            raise HandlerError(
                f"handler {name!r} is defined in the program that was started, which a child process cannot import: "
                "move it into a module"
            )
        if module in self._broken:
            raise HandlerError(self._broken[module])
        self._link.send({"op": "importing"})  # which is not the handler's time
        registry.import_handlers(module)
        self._link.send({"op": "started"})
        if name not in registry.handlers():
            raise HandlerError(f"importing {module!r} in a child process registers no handler {name!r}")
        return registry.get(name)

    def _find_url(self) -> str:
        return str(self._link.ask({"op": "url"}, None)["url"])


def main() -> None:
    """Serve the worker at the other end of the socket whose number is the first argument."""
    line = posix.park(socket.socket(fileno=int(sys.argv[1])))
    posix.tie_to_parent(int(sys.argv[2]))
    posix.be_expendable()
    faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    link = Link(line)
    child = Child(link)
    hello = link.receive()
    sys.path[:] = hello["path"]
    logging.basicConfig(level=hello["level"], handlers=[AttemptLog(lambda: child.context)])
    child.load(hello["modules"])
    link.send({"op": "ready"})
    child.serve()


def _told(outcome: Outcome) -> dict[str, Any]:
    told: dict[str, Any] = {"ending": outcome.ending}
    for name, default in _DEFAULTS.items():
        value = getattr(outcome, name)
        if value is not default and value != default:
            told[name] = value
    return told


if __name__ == "__main__":
    main()
