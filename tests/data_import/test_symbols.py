from __future__ import annotations

import pytest

from jobrunner.data_import.errors import BadSymbol
from jobrunner.data_import.kinds import kind_of
from jobrunner.data_import.symbols import parse_symbol


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("000001.SZ", "000001.SZ"),
        ("000001.sz", "000001.SZ"),
        (" 600000.SH ", "600000.SH"),
        ("600000.SS", "600000.SH"),
        ("sz000001", "000001.SZ"),
        ("SH600000", "600000.SH"),
        ("sz.000001", "000001.SZ"),
        ("000001.XSHE", "000001.SZ"),
        ("600000.XSHG", "600000.SH"),
        ("SZSE:000001", "000001.SZ"),
        ("SSE:600000", "600000.SH"),
        ("0.000001", "000001.SZ"),
        ("1.600000", "600000.SH"),
        ("0.430090", "430090.BJ"),
        ("bj831010", "831010.BJ"),
        ("920002.BJ", "920002.BJ"),
        ("510050.SH", "510050.SH"),
        ("900902.SH", "900902.SH"),
    ],
)
def test_every_notation_names_the_same_symbol(text: str, symbol: str) -> None:
    assert parse_symbol(text, set()) == symbol


@pytest.mark.parametrize(
    "text",
    ["", "1", "00001.SZ", "0000001.SZ", "000001.XX", "AAPL", "../../etc/passwd", "sz../../x", "000001.SZ/..",
     "2.000001", "٠٠٠٠٠١.SZ", "sz000001\x00", "000001.S", "sz:/000001"],
)  # fmt: skip
def test_what_names_no_security_is_refused(text: str) -> None:
    with pytest.raises(BadSymbol):
        parse_symbol(text, set())


def test_a_bare_code_is_resolved_by_what_exists() -> None:
    assert parse_symbol("600000", {"600000.SH", "000001.SZ"}) == "600000.SH"


def test_a_bare_code_in_two_markets_is_an_error_that_names_both() -> None:
    with pytest.raises(BadSymbol, match=r"000001\.SH or 000001\.SZ"):
        parse_symbol("000001", {"000001.SH", "000001.SZ"})


def test_a_bare_code_in_no_market_is_an_error() -> None:
    with pytest.raises(BadSymbol, match="no market"):
        parse_symbol("300750", {"000001.SZ"})


@pytest.mark.parametrize(
    ("symbol", "kind", "divisor", "unit"),
    [
        ("600000.SH", "stock", 100, 1),
        ("688001.SH", "stock", 100, 1),
        ("000001.SZ", "stock", 100, 1),
        ("300059.SZ", "stock", 100, 1),
        ("430090.BJ", "stock", 100, 1),
        ("831010.BJ", "stock", 100, 1),
        ("920002.BJ", "stock", 100, 1),
        ("510050.SH", "fund", 1000, 1),
        ("560010.SH", "fund", 1000, 1),
        ("588000.SH", "fund", 1000, 1),
        ("159915.SZ", "fund", 1000, 1),
        ("180101.SZ", "fund", 1000, 1),
        ("900902.SH", "bshare-usd", 1000, 1),
        ("200012.SZ", "bshare-hkd", 100, 1),
        ("000001.SH", "index", 100, 100),
        ("999999.SH", "index", 100, 100),
        ("880471.SH", "index", 100, 100),
        ("881478.SH", "index", 100, 100),
        ("399001.SZ", "index", 100, 100),
        ("899050.BJ", "index", 100, 100),
        ("010107.SH", "bond", 10_000, 10),
        ("113044.SH", "bond", 10_000, 10),
        ("127005.SZ", "bond", 10_000, 10),
        ("204001.SH", "repo", 10_000, 10),
        ("131810.SZ", "repo", 10_000, 10),
    ],
)
def test_the_code_table(symbol: str, kind: str, divisor: int, unit: int) -> None:
    found = kind_of(symbol)
    assert (found.name, found.divisor, found.unit) == (kind, divisor, unit)


def test_a_code_outside_of_the_table_is_refused_since_its_unit_is_unknown() -> None:
    with pytest.raises(BadSymbol, match=r"700001\.SH.*unit is unknown"):
        kind_of("700001.SH")
