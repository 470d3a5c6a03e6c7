"""Fixtures of the tests over raw sockets."""

from __future__ import annotations

import gc
import signal
import sys

import httpx
import pytest

from .exchanges import COLOURS, RawServer, pools

PROXIES = [name for base in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY") for name in (base, base.lower())]


@pytest.fixture
def raw_server():
    server = RawServer()
    yield server
    server.close()


@pytest.fixture(params=COLOURS, ids=lambda colour: colour.__name__)
def colour(request):
    return request.param


@pytest.fixture(params=COLOURS[1:], ids=lambda colour: colour.__name__)
def async_colour(request):
    return request.param


@pytest.fixture
def calls(colour):
    caller = colour()
    yield caller
    caller.close()


@pytest.fixture
def single(colour):
    """Calls over at most one connection."""
    caller = colour(limit=1)
    yield caller
    caller.close()


@pytest.fixture
def async_single(async_colour):
    caller = async_colour(limit=1)
    yield caller
    caller.close()


@pytest.fixture
def process(monkeypatch):
    """A process that shares nothing yet."""
    fresh = pools._Process()
    pools._tls_context.cache_clear()
    monkeypatch.setattr(pools, "process", fresh)
    return fresh


@pytest.fixture
def tls_contexts(monkeypatch, process):
    """The TLS contexts that were built."""
    built = []
    create = httpx.create_ssl_context

    def counting(*args, **options):
        built.append(create(*args, **options))
        return built[-1]

    monkeypatch.setattr(httpx, "create_ssl_context", counting)
    return built


@pytest.fixture
def environment(process, monkeypatch):
    """An environment without a word about connections."""
    for name in [*PROXIES, "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"]:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def alarm():
    """A signal handler that raises, as callers have for a time-out of their own."""
    before = signal.getsignal(signal.SIGALRM)

    def install(handler):
        signal.signal(signal.SIGALRM, handler)

    yield install
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def noises(caplog):
    """What Python, asyncio and aiohttp complain of where nobody can catch it, once all garbage is collected."""
    found = []
    hook, sys.unraisablehook = sys.unraisablehook, lambda noise: found.append(f"{noise.exc_value} {noise.object}")

    def collected():
        gc.collect()
        return found + [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")]

    yield collected
    sys.unraisablehook = hook
