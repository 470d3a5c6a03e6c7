"""Defaults that say that they are defaults.

A model is rebuilt from its field values (`configurable_fields`), copied and pickled. A value that nobody chose must not
come back as one that somebody chose: a key read from the environment, a looked-up profile, a default limit. Such a
value is an instance of `Defaulted`. Pure, but for reading environment variables.
"""

from __future__ import annotations

import os

from pydantic import SecretStr

API_KEY_VARIABLE = "PROMPTRUN_API_KEY"
BASE_URL_VARIABLE = "PROMPTRUN_BASE_URL"
BASE_URL = "https://api.promptrun.ai/v1"  # Promptrun's page "Streaming AI"

NO_KEY = (
    f"No API key. Set the environment variable {API_KEY_VARIABLE}, or pass api_key=... (a string, or a function that "
    "returns the key). Keys come from https://app.promptrun.ai."
)


class Defaulted:
    """Marks a value that nobody chose."""


def chosen(value: object) -> bool:
    """Whether somebody chose a value."""
    return not isinstance(value, Defaulted)


class EnvironmentKey(SecretStr, Defaulted):
    """An API key from the environment."""


class DefaultUrl(str, Defaulted):
    """A base URL that nobody chose."""

    __slots__ = ()


class DefaultTag(str, Defaulted):
    """A prompt's tag that nobody chose."""

    __slots__ = ()


class DefaultSeconds(float, Defaulted):
    """A default duration."""


class DefaultProfile(dict[str, object], Defaulted):
    """A model profile that was looked up."""


def environment_key() -> EnvironmentKey | None:
    """Read the API key from `PROMPTRUN_API_KEY`; None when it is not set or empty."""
    key = os.environ.get(API_KEY_VARIABLE, "").strip()
    return EnvironmentKey(key) if key else None


def environment_url() -> DefaultUrl:
    """Read the base URL from `PROMPTRUN_BASE_URL`, or take Promptrun's own."""
    return DefaultUrl(os.environ.get(BASE_URL_VARIABLE, "").strip() or BASE_URL)
