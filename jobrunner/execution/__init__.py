"""A claimed task in, an Outcome out: in the worker's loop, in its threads, or in child processes."""
