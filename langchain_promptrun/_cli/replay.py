"""The subcommand `replay`: serve the recorded answers of a file to programs in any language."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING

from langchain_promptrun._cli.command import CommandError, tell
from langchain_promptrun.testing import PromptrunServer

if TYPE_CHECKING:
    import argparse

_HOUR = 3_600


def run(arguments: argparse.Namespace) -> None:
    """Print the base URL and serve until Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        options = {name: getattr(arguments, name) for name in ("speed", "port", "redact_emails")}
        server = PromptrunServer.replay(arguments.file, **options)
        server.start()
    except (OSError, ValueError, KeyError) as error:
        raise CommandError(f"cannot replay: {error}") from error
    try:
        sys.stdout.write(f"{server.base_url}\n")
        sys.stdout.flush()
        while True:
            time.sleep(_HOUR)
    finally:
        server.close()
        tell(f"not asked for: {len(server.unused)} recorded answers; not recorded: {len(server.missing)} requests\n")
