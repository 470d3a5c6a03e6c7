"""Where a request goes: its URL, what may be said of it, and a warning where the key would travel in plain text.

This module must not open connections.
"""

from __future__ import annotations

import ipaddress
import logging
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, cast

import httpx

if TYPE_CHECKING:
    from langchain_promptrun._http.request import Request

logger = logging.getLogger("langchain_promptrun")


class Target(NamedTuple):
    """Where a request goes.

    Attributes:
        url: The URL, the request's query in it.
        origin: Scheme, host and port.
        label: Origin and path: what may be logged.
    """

    url: httpx.URL
    origin: str
    label: str


def target_of(request: Request) -> Target:
    """Where the request goes.

    Raises:
        ValueError: Its URL is none.
    """
    target = _parsed(request.url)
    if not request.query:
        return target
    return target._replace(url=target.url.copy_merge_params(cast("httpx.QueryParams", request.query)))


@lru_cache(maxsize=64)
def _parsed(address: str) -> Target:
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as error:
        reason = str(error)
    else:
        _warn_if_exposed(url)
        origin = f"{url.scheme}://{url.netloc.decode('ascii')}"
        return Target(url, origin, origin + url.path)
    raise ValueError(f"This is not a URL to send requests to: {reason}")


_exposed_hosts: set[str] = set()


def _warn_if_exposed(url: httpx.URL) -> None:
    """Warn of a key in plain text on the network, once for each host."""
    if url.scheme == "http" and not _is_loopback(url.host) and url.host not in _exposed_hosts:
        _exposed_hosts.add(url.host)
        logger.warning("The API key goes to %s in plain text: use https.", url.host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
