"""What all subcommands share; imports nothing heavy, so that `--help` answers at once."""

from __future__ import annotations

import sys

NO_KEY = (
    "no API key: set PROMPTRUN_API_KEY to ask Promptrun (keys: https://app.promptrun.ai), "
    "or add --offline to ask a stand-in server on this machine"
)


class CommandError(Exception):
    """An error that ends the program; its text is the line that the user sees."""


def tell(text: str) -> None:
    """Write to stderr, unless it is closed."""
    if sys.stderr is not None:
        sys.stderr.write(text)
        sys.stderr.flush()
