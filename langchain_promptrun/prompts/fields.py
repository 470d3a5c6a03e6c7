"""The fields of `PromptrunPrompt`: what can be set, and which values go together. No call is made from here."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import RunnableSerializable
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from langchain_promptrun._config.defaults import DefaultTag, chosen
from langchain_promptrun._config.fields import ConnectionFields, checked_fields
from langchain_promptrun._config.roles import Setting
from langchain_promptrun.prompts.family import Family, Identity
from langchain_promptrun.prompts.functions import is_async
from langchain_promptrun.prompts.record import PromptRecord

if TYPE_CHECKING:
    from pydantic.functional_validators import ModelWrapValidatorHandler

OnChange = Callable[[PromptRecord, PromptRecord], object]

_LATEST = DefaultTag("latest")

_OF_ONE_COPY = frozenset({"name", "role", "missing", "partial_variables", "family"})
"""Fields that have no part in how the record is asked for."""


def _path_text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _plain_function(function: OnChange) -> OnChange:
    if is_async(function):
        raise ValueError("must be a plain function: changes are found in threads, too, where nothing can be awaited")
    return function


_Listener = Annotated[OnChange, AfterValidator(_plain_function)]


def _plain_values(values: dict[str, Any]) -> dict[str, Any]:
    for name, value in values.items():
        if callable(value) and is_async(value):
            raise ValueError(f"the function for `{name}` must be a plain one: sync calls ask it, too")
    return values


def _number(value: Any) -> Any:
    if type(value) is bool:  # a number for Python
        raise ValueError("must be the number of a version, not True or False")
    return value


class PromptFields(ConnectionFields, RunnableSerializable[Any, PromptValue]):
    """Fields of `PromptrunPrompt`, all by keyword."""

    model_config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", populate_by_name=True, protected_namespaces=()
    )

    keyword_advice: ClassVar[str] = "Values of the text's variables go into invoke, or into partial_variables."

    project_id: str = Field(min_length=1)
    """UUID of the project in Promptrun's dashboard."""

    tag: Annotated[str, Field(min_length=1)] | None = None
    """Tag to follow, such as `prod`. Exclusive with `version`; with neither of the two it is `latest`."""

    version: Annotated[int | None, BeforeValidator(_number)] = Field(default=None, ge=1)
    """Number of a version. It never changes, so it is fetched once. Exclusive with `tag`."""

    role: Literal["system", "user"] = "system"
    """Whose message the text becomes: the system's, or the user's."""

    missing: Literal["error", "keep"] = "error"
    """What becomes of a variable without a value: an error, or text as it stands, as in Promptrun's Node SDK."""

    partial_variables: Annotated[dict[str, Any], AfterValidator(_plain_values)] = Field(default_factory=dict)
    """Values of variables that calls need not give; a function is called each time."""

    refresh: float = Field(default=60.0, ge=0, allow_inf_nan=False)
    """Seconds for which a fetched text counts as current. After them it is still served, while a new one is fetched."""

    cache_dir: Annotated[str | None, BeforeValidator(_path_text)] = None
    """Folder for the last good prompts, so that a process starts while Promptrun is down; `~` is your home.

    It is used where Promptrun cannot be reached, does not answer within `timeout`, limits the rate or fails (429, 5xx).
    Where Promptrun hangs it is used the sooner, the shorter `timeout` is. A wrong key, project or tag is an error at
    the first fetch; later, when a good text is known, a warning.
    """

    fallback: str | None = None
    """Text of last resort, where nothing was ever fetched, for the same cases as `cache_dir`; its version is 0."""

    on_change: Annotated[_Listener | None, Setting(shared=True)] = Field(default=None, exclude=True, repr=False)
    """Called as `on_change(old, new)` once for each change of version, text, tag, temperature, model or `updated_at`.

    It is called in a thread or event loop that found a change, in the order of the changes and one at a time, and must
    not wait. What it raises is logged.
    """

    family: Family = Field(default_factory=Family, exclude=True, repr=False)
    """What was fetched, for copies of this prompt. It is handed on to them, and not for you to set."""

    @property
    def identity(self) -> Identity:
        """What two copies must have in common to share what was fetched."""
        return tuple(getattr(self, name) for name in type(self).model_fields if name not in _OF_ONE_COPY)

    @property
    def label(self) -> str:
        """What errors and logs call the prompt."""
        which = f"tag {self.tag}" if self.version is None else f"version {self.version}"
        return f"Promptrun prompt {self.project_id} ({which})"

    @property
    def selector(self) -> dict[str, str | int]:
        """The query of GET /prompt."""
        which = {"tag": self.tag or _LATEST} if self.version is None else {"version": self.version}
        return {"projectId": self.project_id, **which}

    @property
    def address(self) -> dict[str, Any]:
        """Which prompt it is, and where."""
        return {"base_url": self.base_url, **self.selector}

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        self._check_key()
        if self.version is None:
            self.__dict__["tag"] = self.tag or _LATEST
        elif chosen(self.tag) and self.tag is not None:
            raise ValueError("tag and version are both set; set one of them.")
        else:
            self.__dict__["tag"] = None
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _take_chosen(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        return checked_fields(cls, values, handler)
