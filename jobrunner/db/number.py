"""The number of this code's schema, in a file of its own: who only tells it loads no SQLAlchemy."""

from __future__ import annotations

SCHEMA = 4  # the schema number that this code needs, and the newest that it brings
