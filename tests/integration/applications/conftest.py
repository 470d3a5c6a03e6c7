"""What the tests of the applications share: how their programs run, and answers that are held back."""

import io
import os
import threading
from pathlib import Path

import pytest

from langchain_promptrun.testing import Fault, PromptrunServer, Reply

EXAMPLES = Path(__file__).parents[3] / "examples"
WAIT = 60
"""Seconds after which a test gives up; nothing here is slow unless it hangs."""


def environment(server=None, **more):
    """For a program that asks a server, or none; its coverage is nobody's business, and costs time."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "PROMPTRUN_"))}
    if server:
        more |= {"PROMPTRUN_API_KEY": server.api_key, "PROMPTRUN_BASE_URL": server.base_url}
    return bare | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "PYTHONPATH": str(EXAMPLES)} | more


class Terminal(io.StringIO):
    def isatty(self):
        return True


def held(*words):
    """An answer whose rest is kept back until the event is set."""
    release = threading.Event()
    return release, Fault(reply=Reply("".join(words), pieces=words), after=1, pause=release)


@pytest.fixture(scope="module")
def model_server():
    with PromptrunServer(cost_per_token=0.001) as server:
        yield server
