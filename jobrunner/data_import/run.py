"""One load: symbol after symbol from a source into the database.

Loads numpy: import it only in the process that imports data.
"""

from __future__ import annotations

import time
from typing import Any

from jobrunner.data_import import load, normalize, outcome
from jobrunner.data_import.errors import BadSymbol, DataError, NothingImported
from jobrunner.data_import.frame import Frame
from jobrunner.data_import.outcome import MAX_TEXT, SymbolOutcome
from jobrunner.data_import.request import ImportRequest
from jobrunner.data_import.sources import Source
from jobrunner.errors import Cancel, DatabaseUnavailable
from jobrunner.handlers import Context
from jobrunner.text import visible

MAX_REJECTS = 1000  # kept per symbol; the outcome counts them all
FIRST_PAUSE = 0.1  # seconds after the first write that an outage broke off; each further pause is twice as long
LONGEST_PAUSE = 5.0
_LOOK_EVERY = 0.2  # seconds: a pause must not hold up a cancel


def run(request: ImportRequest, ctx: Context, source: Source) -> dict[str, Any]:
    """Import what ``request`` asks for and return the result; see :func:`outcome.result`.

    What an earlier attempt of the same task committed is not read again. Raises NothingImported, after all outcomes
    are written, when every symbol failed.
    """
    started = time.monotonic()
    symbols, outcomes = _plan(request, source)
    load_id = f"{ctx.task_id}.{ctx.generation}"
    opened = {
        "load_id": load_id,
        "task_id": ctx.task_id,
        "source": source.name,
        "freq": request.freq,
        "request": request.model_dump(mode="json", exclude_none=True),
        "symbols": len(symbols) + len(outcomes),
    }
    earlier = {row["symbol"]: SymbolOutcome(**row) for row in _apply(ctx, load.BEGIN, opened)}
    if earlier:
        ctx.log("an earlier attempt did part of this load; it is not read again", symbols=len(earlier))

    def store(found: SymbolOutcome, bars: list[list[Any]], rejects: list[dict[str, Any]]) -> SymbolOutcome:
        into = {"load_id": load_id, "source": source.name, "freq": request.freq}
        given = {"outcome": found.as_json(), "bars": bars, "rejects": rejects}
        return SymbolOutcome(**_apply(ctx, load.SYMBOL, {**into, **given}))

    outcomes = [store(_attempted(failed, ctx), [], []) for failed in outcomes]
    for number, symbol in enumerate(symbols):
        if ctx.cancelled:
            raise Cancel(f"cancelled after {number} of {len(symbols)} symbols")
        ctx.progress(number / len(symbols), symbol)
        if symbol in earlier:
            outcomes.append(earlier[symbol])
            continue
        outcomes.append(store(*_read(symbol, request, ctx, source)))
        _tell(outcomes[-1], ctx)
    _apply(ctx, load.FINISH, {"load_id": load_id})
    ctx.progress(1.0, f"{len(symbols)} symbols")
    if all(each.status == "failed" for each in outcomes):
        raise NothingImported(outcome.nothing_imported(outcomes))
    return outcome.result(source.name, load_id, outcomes, time.monotonic() - started)


def _apply(ctx: Context, effect: str, row: dict[str, Any]) -> Any:
    """Run an effect of a load, again for as long as the database is away; raises LeaseLost.

    Every effect of a load may run twice, so a COMMIT whose answer was lost does no harm. Raises DatabaseUnavailable
    only once the attempt was asked to end.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            return ctx.apply(effect, [row])
        except DatabaseUnavailable as error:
            if pause == FIRST_PAUSE:
                ctx.log(f"the database is away; the load waits for it: {error}", "warning")
            _wait(ctx, pause)
            if ctx.cancelled:
                raise
        pause = min(2 * pause, LONGEST_PAUSE)


def _wait(ctx: Context, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not ctx.cancelled and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, _LOOK_EVERY))


def _plan(request: ImportRequest, source: Source) -> tuple[list[str], list[SymbolOutcome]]:
    """The symbols to read, each once, and the failures of those that name none."""
    wanted: dict[str, None] = {}
    failed: dict[str, SymbolOutcome] = {}
    if request.symbols is None:
        wanted = dict.fromkeys(source.symbols())
        if not wanted:
            raise NothingImported(f"source {source.name} has no symbol at all")
    for text in request.symbols or []:
        try:
            wanted[source.resolve(text)] = None
        except BadSymbol as error:
            failed[text] = _failure(text, error)
    return list(wanted), list(failed.values())


def _read(
    symbol: str, request: ImportRequest, ctx: Context, source: Source
) -> tuple[SymbolOutcome, list[list[Any]], list[dict[str, Any]]]:
    """One symbol's outcome, rows and rejects, ready to be stored; whatever reading raises becomes a failure."""
    started = time.monotonic()
    found, bars, rejects = SymbolOutcome(symbol), [], []
    try:
        frame = source.read(symbol, request.start_date, request.end_date)
        rejects = _rejects(frame)
        found = _summary(frame)
        if frame.rejects and not len(frame.bars) and not frame.outside:
            raise DataError(f"none of its {frame.rows_read} records is a bar; the first: {frame.rejects[0].reason}")
        bars = normalize.rows(frame)
    except Exception as error:  # noqa: BLE001  one damaged file must not end the load of 5,000 others
        found.error_class, found.error = type(error).__name__, _text(str(error) or repr(error))
    found.seconds = time.monotonic() - started
    return _attempted(found, ctx), bars, rejects


def _summary(frame: Frame) -> SymbolOutcome:
    warnings = frame.warnings
    if len(frame.rejects) > MAX_REJECTS:
        warnings = [*warnings, f"only the first {MAX_REJECTS} of {len(frame.rejects)} rejects are kept"]
    days = frame.bars["session"]
    return SymbolOutcome(
        frame.symbol,
        rows_read=frame.rows_read,
        rejected=len(frame.rejects),
        first=str(days[0]) if len(days) else None,
        last=str(days[-1]) if len(days) else None,
        warnings=[_text(warning) for warning in warnings],
    )


def _rejects(frame: Frame) -> list[dict[str, Any]]:
    return [
        {
            "position": each.position,
            "reason": _text(each.reason),
            "row": {
                _text(name): _text(value) if isinstance(value, str) else value
                for name, value in frame.raw(each.position).items()
            },
        }
        for each in sorted(frame.rejects, key=lambda each: each.position)[:MAX_REJECTS]
    ]


def _failure(text: str, error: Exception) -> SymbolOutcome:
    return SymbolOutcome(_text(text), error_class=type(error).__name__, error=_text(str(error)))


def _attempted(found: SymbolOutcome, ctx: Context) -> SymbolOutcome:
    found.attempt = ctx.attempt
    return found


def _tell(found: SymbolOutcome, ctx: Context) -> None:
    if found.error is not None:
        ctx.log(f"{found.symbol} failed: {found.error}", "warning", symbol=found.symbol)
    for warning in found.warnings:
        ctx.log(f"{found.symbol}: {warning}", "warning", symbol=found.symbol)


def _text(value: str) -> str:
    return visible(value)[:MAX_TEXT]
