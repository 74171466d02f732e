"""The command line: one file per group of commands, one call each.

Nothing here imports a database, a server or the settings at the top of a file, so that ``--help`` is quick.
"""
