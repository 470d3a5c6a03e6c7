"""Promptrun, or a stand-in for it on this machine: what all the examples share.

With `PROMPTRUN_API_KEY` set an example talks to Promptrun, with `PROMPTRUN_BASE_URL` to the server that it names.
Without either, or with `--offline`, a server on loopback answers: the environment then names that server, so
`ChatPromptrun(model=...)` in an example reads the same either way.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

from langchain_promptrun.testing import PromptrunServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def run(main: Callable[[], object], rehearse: Callable[[PromptrunServer], object] | None = None) -> None:
    """Run an example.

    Args:
        main: The example.
        rehearse: Tells the stand-in what to say, where its own small model could not play the part. It is not called
            when Promptrun answers.
    """
    with answering(command_line().parse_args(), rehearse):
        main()


def command_line() -> argparse.ArgumentParser:
    """Give the command line of an example; one with options of its own adds them."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--offline", action="store_true", help="use a stand-in server on this machine; no key")
    return parser


@contextmanager
def answering(
    arguments: argparse.Namespace, rehearse: Callable[[PromptrunServer], object] | None = None
) -> Iterator[None]:
    """Have the environment lead to Promptrun, or to a stand-in that lives as long as the block.

    Args:
        arguments: Those of `command_line`.
        rehearse: As in `run`.
    """
    if not arguments.offline and (os.environ.get("PROMPTRUN_API_KEY") or os.environ.get("PROMPTRUN_BASE_URL")):
        yield
        return
    with PromptrunServer() as server, patch.dict(os.environ, _environment(server)):
        print(f"offline: a stand-in server at {server.base_url} answers", file=sys.stderr)
        if rehearse is not None:
            rehearse(server)
        yield


def _environment(server: PromptrunServer) -> dict[str, str]:
    """Give the variables that lead to a server; a proxy could not reach this machine's loopback."""
    variables = {"PROMPTRUN_API_KEY": server.api_key, "PROMPTRUN_BASE_URL": server.base_url}
    return {**variables, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
