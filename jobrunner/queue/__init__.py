"""The heart: what a task is and how it moves. Importing this package imports no SQL."""
