"""What can go wrong with an import.

JobrunnerError
└── DataError             a symbol or file cannot be imported; the reason is told per symbol
    ├── BadSymbol         the text names no security
    ├── SymbolNotFound    the source has nothing under this name
    ├── BadFile           the file cannot be read as what it claims to be
    ├── SourceUnset       the operator has not said where the source's files lie, or they are not there
    └── NothingImported   every symbol of the load failed
"""

from __future__ import annotations

from jobrunner.errors import JobrunnerError


class DataError(JobrunnerError):
    """A symbol or file cannot be imported."""


class BadSymbol(DataError):
    """The text names no security, or more than one."""


class SymbolNotFound(DataError):
    """The source has nothing under this name."""


class BadFile(DataError):
    """The file cannot be read as what it claims to be."""


class SourceUnset(DataError):
    """The operator has not said where the source's files lie, or they are not there."""


class NothingImported(DataError):
    """Every symbol of the load failed."""
