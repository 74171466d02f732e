"""Names of Chinese securities: every usual notation in, ``000001.SZ`` out.

The market is part of the identity: 000001.SH is an index, 000001.SZ a bank.
"""

from __future__ import annotations

import re
from collections.abc import Container

from jobrunner.data_import.errors import BadSymbol

MARKETS = ("SH", "SZ", "BJ")

_MARKET_NAMES = {
    "SH": "SH", "SS": "SH", "SSE": "SH", "XSHG": "SH",
    "SZ": "SZ", "SZSE": "SZ", "XSHE": "SZ",
    "BJ": "BJ", "BSE": "BJ", "XBSE": "BJ",
}  # fmt: skip
_SUFFIXED = re.compile(r"([0-9]{6})\.([A-Z]{2,4})")
_PREFIXED = re.compile(r"([A-Z]{2,4})[.:]?([0-9]{6})")
_NUMBERED = re.compile(r"([01])\.([0-9]{6})")
_BARE = re.compile(r"[0-9]{6}")
_BEIJING = ("43", "83", "87", "899", "920")  # the numbered notation files these under 0, as it does Shenzhen


def split_symbol(text: str) -> tuple[str | None, str]:
    """Market and code of a symbol in any accepted notation; the market is None for a bare code.

    Accepted, in any case: ``000001.SZ``, ``000001.XSHE``, ``600000.SS``, ``sz000001``, ``sz.000001``,
    ``SZSE:000001``, ``0.000001`` and ``1.600000``, ``000001``. Raises :class:`BadSymbol` for anything else.
    """
    given = text.strip().upper()
    if _BARE.fullmatch(given):
        return None, given
    if match := _NUMBERED.fullmatch(given):
        number, code = match.groups()
        if number == "1":
            return "SH", code
        return ("BJ" if code.startswith(_BEIJING) else "SZ"), code
    if match := _SUFFIXED.fullmatch(given):
        code, market = match.groups()
    elif match := _PREFIXED.fullmatch(given):
        market, code = match.groups()
    else:
        raise BadSymbol(f"{text!r} is no symbol; write it like 000001.SZ, 600000.SH or 430090.BJ")
    if market not in _MARKET_NAMES:
        raise BadSymbol(f"{text!r} names the unknown market {market}; known are SH, SZ and BJ")
    return _MARKET_NAMES[market], code


def symbol_of(market: str, code: str) -> str:
    """The canonical symbol of a code in a market, as in ``000001.SZ``."""
    return f"{code}.{market.upper()}"


def parse_symbol(text: str, known: Container[str]) -> str:
    """The canonical symbol of ``text``; a bare code is looked up in ``known``, the symbols that the source has.

    Raises :class:`BadSymbol` when the code exists in more than one market, naming them, or in none.
    """
    market, code = split_symbol(text)
    if market is not None:
        return symbol_of(market, code)
    found = [symbol for symbol in (symbol_of(m, code) for m in MARKETS) if symbol in known]
    if len(found) > 1:
        raise BadSymbol(f"{code} exists in more than one market: say {' or '.join(found)}")
    if not found:
        raise BadSymbol(f"{code} exists in no market here; write it like {code}.SZ to name one")
    return found[0]
