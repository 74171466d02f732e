"""Writes the references anew: ``python -m tests.docs.write``, after any change of a command or a call."""

from __future__ import annotations

from jobrunner.api import docs
from tests.docs import cli_reference, rest_reference

WRITTEN = {"cli-reference.md": cli_reference.markdown, "rest-reference.md": rest_reference.markdown}

if __name__ == "__main__":
    for name, made in WRITTEN.items():
        (docs.folder() / name).write_text(made(), encoding="utf-8")
        print(docs.folder() / name)
