"""Market data from files into the database: task type ``data_import``.

Importing this package registers the handler and its effects and loads neither numpy nor pandas; :mod:`run`,
:mod:`frame`, :mod:`quality`, :mod:`normalize` and :mod:`sources` do, in the process that imports data.
"""

from jobrunner.data_import.handler import data_import

__all__ = ["data_import"]
