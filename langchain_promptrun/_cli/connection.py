"""Connect to Promptrun or to a stand-in server, and turn exceptions into the one line that ends a run."""

from __future__ import annotations

import io
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from langchain_promptrun._cli.main import CommandError, tell
from langchain_promptrun.errors import PromptrunError
from langchain_promptrun.testing import PromptrunServer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


@contextmanager
def connection(arguments: argparse.Namespace) -> Iterator[tuple[dict[str, Any], PromptrunServer | None]]:
    """Give the fields that say where the server is, and with `--offline` a stand-in that lives as long."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal's encoding may lack what is to be printed
    try:
        if arguments.offline:
            with PromptrunServer() as server:
                tell(f"offline: a stand-in server at {server.base_url} answers\n")
                yield {"base_url": server.base_url, "api_key": server.api_key}, server
        elif arguments.base_url or os.environ.get("PROMPTRUN_API_KEY") or os.environ.get("PROMPTRUN_BASE_URL"):
            yield {"base_url": arguments.base_url}, None
        else:
            raise CommandError(
                "no API key: set PROMPTRUN_API_KEY to ask Promptrun (keys: https://app.promptrun.ai), "
                "or add --offline to ask a stand-in server on this machine"
            )
    except BrokenPipeError:
        raise
    # an ImportError names a package that is missing, such as the one for SOCKS proxies
    except (PromptrunError, ValueError, OSError, ImportError) as error:
        said = str(error)
        if isinstance(error, ValidationError):
            said = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise CommandError(" ".join(said.split()) or type(error).__name__) from error


def show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
