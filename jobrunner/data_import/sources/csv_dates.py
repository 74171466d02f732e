"""The days of a CSV file, in the forms that real files use.

Loads numpy and pandas: import it only in the process that imports data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobrunner.data_import.errors import BadFile

DateOrder = Literal["mdy", "dmy"]

# What follows the day (a time, an offset) does not matter: the day is the one written, in the exchange's own zone.
_YEAR_FIRST = r"^(?P<y>[0-9]{4})([-/.]?)(?P<m>[0-9]{1,2})\2(?P<d>[0-9]{1,2})(?:[T ].*)?$"
_YEAR_LAST = r"^(?P<a>[0-9]{1,2})[-/.](?P<b>[0-9]{1,2})[-/.](?P<y>[0-9]{4})(?:[T ].*)?$"
_YEARS = (1800, 2200)


@dataclass(frozen=True, slots=True)
class Days:
    """The days read, and which of them are days."""

    sessions: NDArray[np.datetime64]
    valid: NDArray[np.bool_]


def parse_days(texts: NDArray[np.object_], order: DateOrder | None) -> Days:
    """Days from texts like ``2020-09-01``, ``2007/02/28``, ``20070228``, ``2017-3-7 0:0:0``, ``11/29/2019``.

    Where the year comes last, ``order`` says whether the month or the day leads; without it the file itself must show
    it by a number above 12, else :class:`BadFile`.
    """
    column = pd.Series(texts, dtype=object).astype(str)
    first = column.str.extract(_YEAR_FIRST)
    last = column.str.extract(_YEAR_LAST)
    year, month, day = (_integers(first[name]) for name in ("y", "m", "d"))
    tail = last["y"].notna().to_numpy() & (year == 0)
    if tail.any():
        a, b, y = (_integers(last[name]) for name in ("a", "b", "y"))
        month_leads = (order or _order(a[tail], b[tail])) == "mdy"
        year[tail] = y[tail]
        month[tail], day[tail] = (a[tail], b[tail]) if month_leads else (b[tail], a[tail])
    valid = (year >= _YEARS[0]) & (year <= _YEARS[1]) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    months = np.where(valid, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    sessions = months.astype("datetime64[D]") + np.where(valid, day - 1, 0)
    return Days(sessions, valid & (sessions.astype("datetime64[M]") == months))


def _order(a: NDArray[np.int64], b: NDArray[np.int64]) -> DateOrder:
    if (b > 12).any() and not (a > 12).any():
        return "mdy"
    if (a > 12).any() and not (b > 12).any():
        return "dmy"
    raise BadFile("the dates do not show whether the month or the day leads: say date_order mdy or dmy")


def _integers(column: pd.Series) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = pd.to_numeric(column, errors="coerce").fillna(0).to_numpy(dtype=np.int64)
    return numbers
