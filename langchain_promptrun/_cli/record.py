"""The subcommand `record`: run a command against a server that forwards its requests and records the answers."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from langchain_promptrun._cli.command import CommandError, tell
from langchain_promptrun.testing import PromptrunServer

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> None:
    """Run the command and end with its exit status."""
    if not arguments.command:
        raise CommandError("which command? Write it after `--`, such as: record --out FILE -- pytest tests")
    options = {"keep": arguments.keep, "redact_emails": arguments.redact_emails}
    try:
        server = PromptrunServer.record(arguments.out, **options)
        server.start()
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot record to {arguments.out}: {error}") from error
    with server:
        tell(f"recording to {arguments.out} at {server.base_url}\n")
        environment = os.environ | {"PROMPTRUN_BASE_URL": server.base_url}
        try:
            done = subprocess.run(arguments.command, env=environment, check=False)
        except OSError as error:
            raise CommandError(f"cannot run {arguments.command[0]}: {error.strerror}") from error
    if server.missing:
        tell(f"error: {server.missing[0]}\n")
    # A shell reports a signal as 128 and its number.
    status = done.returncode if done.returncode >= 0 else 128 - done.returncode
    raise SystemExit(status or bool(server.missing))
