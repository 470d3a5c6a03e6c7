"""Record answers to a file, and serve them again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from langchain_promptrun._cli.main import CommandError, show, tell
from langchain_promptrun.testing import PromptrunServer

if TYPE_CHECKING:
    import argparse


def run_record(arguments: argparse.Namespace) -> None:
    """Run a command against a server that forwards its requests and records the answers; end with its exit status."""
    if not arguments.command:
        raise CommandError("which command? Write it after `--`, such as: record --out FILE -- pytest tests")
    with PromptrunServer.record(arguments.out, keep=arguments.keep, redact_emails=arguments.redact_emails) as server:
        tell(f"recording to {arguments.out} at {server.base_url}\n")
        environment = os.environ | {"PROMPTRUN_BASE_URL": server.base_url}
        done = subprocess.run(arguments.command, env=environment, check=False)
    if server.missing:
        tell(f"error: {server.missing[0]}\n")
    # a shell reports a signal as 128 and its number
    status = done.returncode if done.returncode >= 0 else 128 - done.returncode
    raise SystemExit(status or bool(server.missing))


def run_replay(arguments: argparse.Namespace) -> None:
    """Serve recorded answers to programs in any language, at the URL that is printed, until Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = {name: getattr(arguments, name) for name in ("speed", "port", "redact_emails")}
    with PromptrunServer.replay(arguments.file, **options) as server:
        show(f"{server.base_url}\n")
        try:
            while True:
                time.sleep(3_600)
        finally:
            unused, missing = len(server.unused), len(server.missing)
            tell(f"not asked for: {unused} recorded answers; not recorded: {missing} requests\n")
