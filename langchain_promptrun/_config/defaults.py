"""Defaults that are recognised as defaults.

A model is rebuilt from its field values (`configurable_fields`), copied and pickled: a key of the environment, a
looked-up profile or a default limit must not come back as one that the caller chose.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

API_KEY_VARIABLE = "PROMPTRUN_API_KEY"
PROJECT_VARIABLE = "PROMPTRUN_PROJECT_ID"
BASE_URL_VARIABLE = "PROMPTRUN_BASE_URL"
BASE_URL = "https://api.promptrun.ai/v1"  # Promptrun's page "Streaming AI"
_OWN_DOMAIN = "promptrun.ai"

NO_KEY = (
    f"No API key. Set the environment variable {API_KEY_VARIABLE}, or pass `api_key` (a string, or a function that "
    "returns the key). Keys come from https://app.promptrun.ai."
)


class Defaulted:
    """Marks a value that the caller did not choose."""


def chosen(value: object) -> bool:
    """Return whether the caller chose a value."""
    return not isinstance(value, Defaulted)


class EnvironmentKey(SecretStr, Defaulted):
    """An API key from the environment."""


class DefaultUrl(str, Defaulted):
    """A base URL from the environment, or Promptrun's own."""

    __slots__ = ()


class DefaultProject(str, Defaulted):
    """A project of the environment."""

    __slots__ = ()


class DefaultTag(str, Defaulted):
    """A prompt's default tag."""

    __slots__ = ()


class DefaultSeconds(float, Defaulted):
    """A default duration."""


class DefaultProfile(dict[str, Any], Defaulted):
    """A model profile that was looked up."""


def environment_key() -> EnvironmentKey | None:
    """Read the API key from `PROMPTRUN_API_KEY`; None where it is unset or empty."""
    key = os.environ.get(API_KEY_VARIABLE, "").strip()
    return EnvironmentKey(key) if key else None


def environment_project() -> DefaultProject | None:
    """Read the id of a project from `PROMPTRUN_PROJECT_ID`; None when it is not set or empty."""
    project = os.environ.get(PROJECT_VARIABLE, "").strip()
    return DefaultProject(project) if project else None


def environment_url() -> DefaultUrl:
    """Read the base URL from `PROMPTRUN_BASE_URL`, or return Promptrun's own."""
    return DefaultUrl(os.environ.get(BASE_URL_VARIABLE, "").strip() or BASE_URL)


def needs_key(base_url: str) -> bool:
    """Return whether an address is Promptrun's own, which answers only with a key."""
    host = urlsplit(base_url).hostname or ""
    return host == _OWN_DOMAIN or host.endswith(f".{_OWN_DOMAIN}")
