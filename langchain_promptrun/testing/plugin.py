"""The pytest fixtures `promptrun_server` and `promptrun_cassette`, for `pytest_plugins` in the root `conftest.py`."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from langchain_promptrun.testing._cassette import is_unreachable, read
from langchain_promptrun.testing._server import PromptrunServer

API_KEY = "test-key"
_LONGEST_NAME = 120


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option `--promptrun-record`."""
    parser.getgroup("promptrun").addoption(
        "--promptrun-record",
        choices=("none", "once", "new", "all"),
        default="none" if os.environ.get("CI") else "once",
        help="what to record of tests with promptrun_cassette: nothing, tests without a cassette, new requests, or all "
        "(default: %(default)s; none where CI is set)",
    )


@pytest.fixture
def promptrun_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PromptrunServer]:
    """Run a stand-in server for one test, to which `PROMPTRUN_API_KEY` and `PROMPTRUN_BASE_URL` point."""
    with PromptrunServer(api_key=API_KEY) as server:
        _point_to(server, monkeypatch)
        yield server


@pytest.fixture
def promptrun_cassette_options() -> dict[str, Any]:
    """Override it to return keywords for `PromptrunServer.record` and `.replay`, such as `match` and `redact`."""
    return {}


@pytest.fixture
def promptrun_cassette(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, promptrun_cassette_options: dict[str, Any]
) -> Iterator[PromptrunServer]:
    """Run a server that replays `cassettes/<module>/<test>.jsonl` beside the test, or records it.

    While recording, `server.api_key` is the real key and the upstream is `PROMPTRUN_BASE_URL`, else Promptrun.
    A request that the cassette lacks fails the test.
    """
    mode, node = request.config.getoption("promptrun_record"), request.node
    test = node.nodeid.partition("::")[2].replace("::", ".")
    name = re.sub(r"[^\w.\-\[\]]+", "_", test)[:_LONGEST_NAME]
    if name != test:  # a file system would refuse it
        name += f"-{hashlib.sha256(test.encode()).hexdigest()[:8]}"
    path = Path(node.path).parent / "cassettes" / Path(node.path).stem / f"{name}.jsonl"
    exchanges = read(path) if path.exists() else []
    recorded = path.exists() and not (exchanges and all(map(is_unreachable, exchanges)))
    command = f"pytest {shlex.quote(node.nodeid)} --promptrun-record {'new' if recorded else 'once'}"
    key = os.environ.get("PROMPTRUN_API_KEY")
    if mode == "none" and not recorded:
        problem = "holds failed connections alone" if path.exists() else "does not exist"
        pytest.fail(f"{path} {problem}. Record it: {command}", pytrace=False)
    if mode == "none" or (mode == "once" and recorded):
        server = PromptrunServer.replay(path, api_key=API_KEY, **promptrun_cassette_options)
    elif key or os.environ.get("PROMPTRUN_BASE_URL"):
        server = PromptrunServer.record(path, keep=mode == "new", api_key=key, **promptrun_cassette_options)
    else:
        pytest.fail(f"Set PROMPTRUN_API_KEY to record {path}, and run: {command}", pytrace=False)
    with server:
        _point_to(server, monkeypatch)
        yield server
    if server.missing:
        pytest.fail(f"{server.missing[0]} Record it: {command}", pytrace=False)


def _point_to(server: PromptrunServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTRUN_BASE_URL", server.base_url)
    monkeypatch.setenv("PROMPTRUN_API_KEY", str(server.api_key or API_KEY))
