"""Defaults that are recognised as defaults.

A model is rebuilt from its field values (`configurable_fields`), copied and pickled: a key of the environment, a
looked-up profile or a default limit must not come back as one that the caller chose.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
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
    return not isinstance(value, Defaulted)


class EnvironmentKey(SecretStr, Defaulted):
    """An API key from the environment."""


class DefaultText(str, Defaulted):
    """A base URL, a project or a tag from the environment, or a default one."""

    __slots__ = ()


DefaultUrl = DefaultProject = DefaultTag = DefaultText  # names that pickles hold


class DefaultSeconds(float, Defaulted):
    """A default duration."""


class DefaultProfile(dict[str, Any], Defaulted):
    """A model profile that was looked up, and for which model."""

    model = ""


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()


def environment_key() -> EnvironmentKey | None:
    return EnvironmentKey(key) if (key := _variable(API_KEY_VARIABLE)) else None


def environment_project() -> DefaultText | None:
    return DefaultText(project) if (project := _variable(PROJECT_VARIABLE)) else None


def environment_url() -> DefaultText:
    return DefaultText(_variable(BASE_URL_VARIABLE) or BASE_URL)


def needs_key(base_url: str) -> bool:
    """Return whether an address is Promptrun's own, which answers only with a key."""
    host = urlsplit(base_url).hostname or ""
    return host == _OWN_DOMAIN or host.endswith(f".{_OWN_DOMAIN}")


def plain_values(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: plain_values(inner) for name, inner in value.items()}
    return value.get_secret_value() if isinstance(value, SecretStr) else value
