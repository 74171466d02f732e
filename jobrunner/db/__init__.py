"""The database, and the only place that knows a dialect's name."""
