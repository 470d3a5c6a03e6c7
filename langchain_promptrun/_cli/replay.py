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
    """Print the base URL and serve until Ctrl-C or SIGTERM.

    Raises:
        CommandError: The file is missing or is not a recording, or the port is taken.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server = PromptrunServer.replay(arguments.file, speed=arguments.speed, port=arguments.port)
        server.start()
    except (OSError, ValueError, KeyError) as error:
        raise CommandError(f"cannot replay {arguments.file}: {error}") from error
    try:
        sys.stdout.write(f"{server.base_url}\n")
        sys.stdout.flush()
        while True:
            time.sleep(_HOUR)
    finally:
        server.close()
        tell(f"not asked for: {len(server.unused)} recorded answers; not recorded: {len(server.missing)} requests\n")
