"""Fixtures that all tests share."""

import contextlib
import os
import signal
import subprocess

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["langchain_promptrun.testing.plugin"]

# No test is bounded by the speed of the machine, and where a change is checked, each run tries the same examples.
settings.register_profile(
    "steady", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")


def pytest_configure(config):
    """Hide the key and the address of Promptrun from all tests but the live ones: nobody pays by surprise."""
    if config.option.markexpr != "live":
        for name in ("PROMPTRUN_API_KEY", "PROMPTRUN_BASE_URL"):
            os.environ.pop(name, None)


@pytest.fixture(autouse=True, scope="session")
def interruptible():
    """Have programs react to Ctrl-C although the tests run in the background, where shells have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def press_ctrl_c():
    """Interrupts a program, once more where it is still there.

    Python sees a signal that comes in the instant before a wait only after it.
    """

    def press(process):
        for _ in range(2):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=8)

    return press
