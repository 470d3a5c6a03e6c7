"""Fixtures that all tests share."""

import signal

import pytest

pytest_plugins = ["langchain_promptrun.testing.plugin"]


@pytest.fixture(autouse=True, scope="session")
def interruptible():
    """Have programs react to Ctrl-C although the tests run in the background, where shells have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
