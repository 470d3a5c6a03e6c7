"""Records of managed prompts: what GET /prompt answers, the file that keeps it, and its text with values for variables.

The fields are those of Promptrun's page "Prompt API" and of the types of Promptrun's Node SDK; what else comes is kept.
By the public source of that SDK a variable is `{{name}}` on its main branch; on its branch beta blanks may stand around
the name, and dots walk into objects, `{{ user.email }}`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Self, cast

from langchain_core.messages import BaseMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel
from pydantic.functional_validators import ModelWrapValidatorHandler

from langchain_promptrun._errors.mapping import error_from_document
from langchain_promptrun._responses.parser import Body
from langchain_promptrun._wire import json as _json
from langchain_promptrun.errors import PromptrunError, PromptrunResponseError

# JavaScript's trim() takes the byte order mark for a blank
_PATH = re.compile(r"\{\{[\s\ufeff]*(\w+(?:\.\w+)*)[\s\ufeff]*\}\}")
# what an author may have meant as a name: none of the marks of JSON, calls or another template language
_NAME_LIKE = re.compile(r"\{\{[\s\ufeff]*([\w.@$\u200b][^{}\":;=<>()\n]*)\}\}")
_MISSING = object()
_ACCEPTED = 'a list of messages, such as [("user", "Hello")]; one message; a text, which is the user\'s; a prompt value'
FALLBACK_VERSION = 0  # Promptrun's own count from 1
_CHANGING = ("version", "prompt", "tag", "temperature", "model", "updated_at", "updatedAt")


class PromptrunMissingVariableError(KeyError, ValueError):
    """Reports `variables` of a managed prompt that have no value. A KeyError, as LangChain's own prompts raise."""

    def __init__(self, message: str = "", variables: tuple[str, ...] = ()) -> None:
        super().__init__(message, variables)
        self.variables = variables

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError's has quotes


def find_odd_names(text: str) -> tuple[str, ...]:
    """Return what stands between double braces like a name that cannot be one."""
    found = dict.fromkeys(name.strip() for name in _NAME_LIKE.findall(text))
    return tuple(name for name in found if not _PATH.fullmatch(f"{{{{{name}}}}}"))


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow", frozen=True)

    @model_validator(mode="wrap")
    @classmethod
    def _take_what_is_known(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Keep what a field cannot take among the unknown fields, under the name that it came with."""
        try:
            return handler(values)
        except ValidationError as error:
            odd = {str(place) for fault in error.errors() for place in fault["loc"][:1]}
            optional = {to_camel(name) for name, field in cls.model_fields.items() if not field.is_required()}
            if not odd or not odd <= optional:
                raise
        read = handler({name: value for name, value in values.items() if name not in odd})
        cast("dict[str, Any]", read.model_extra).update({name: raw for name, raw in values.items() if name in odd})
        return read


class PromptProject(_Wire):
    """The project that a prompt belongs to: its UUID, and its name in the dashboard."""

    id: str
    name: str | None = None


class PromptModel(_Wire):
    """The model that a prompt was written for; `model` is the id to call, and the others are the dashboard's."""

    model: str | None = None
    name: str | None = None
    provider: str | None = None
    icon: str | None = None


class PromptRecord(_Wire):
    """One version of a managed prompt, as Promptrun tells it.

    Unknown fields are kept in `model_extra`. So are values of a wrong type: of these the field is None. Only text and
    version must be right.

    Attributes:
        prompt: The text, with `{{name}}` for variables.
        version: Version as the server tells it, number or text; 0 is the `fallback` text.
        version_message: What the author said about the version.
        tag: Tag under which the version was found.
        user: Who made the version.
        inputs: Variables that the playground defined.
    """

    prompt: str
    version: int | str
    version_message: str | None = None
    updated_at: datetime | None = None
    created_at: datetime | None = None
    tag: str | None = None
    project: PromptProject | None = None
    model: PromptModel | None = None
    temperature: float | None = None
    id: str | None = None
    user: Any = None
    inputs: Any = None

    @field_validator("model", mode="before")
    @classmethod
    def _named_model(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the text's variables, in the order of their first appearance; of a path, its root."""
        return tuple(dict.fromkeys(path.partition(".")[0] for path in _PATH.findall(self.prompt)))

    @property
    def is_fallback(self) -> bool:
        """Whether this is the text of last resort."""
        return self.version == FALLBACK_VERSION

    def differs(self, other: PromptRecord) -> bool:
        """Whether something that matters changed: version, text, tag, temperature, model or time of the update."""
        # values of a wrong type are among the unknown fields
        mine, others = ({**vars(record), **(record.model_extra or {})} for record in (self, other))
        return any(mine.get(name) != others.get(name) for name in _CHANGING)

    def to_wire(self) -> bytes:
        """The record as JSON, in Promptrun's spelling."""
        return _json.dumps(self.model_dump(mode="json", by_alias=True, exclude_unset=True))


class PromptChange(NamedTuple):
    """A change of a prompt: the record before it, and the one after."""

    old: PromptRecord
    new: PromptRecord


def read_record(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> PromptRecord:
    """Return the record in a JSON body; raise the error that the body reports."""
    try:
        document = _json.loads(body)
    except ValueError:
        raise PromptrunResponseError("The server's answer is not JSON.") from None
    if (reported := error_from_document(document, status, headers or {})) is not None:
        raise reported
    try:
        return PromptRecord.model_validate(document)
    except ValidationError as error:
        faults = [": ".join(map(str, (*fault["loc"], fault["msg"]))) for fault in error.errors()]
    raise PromptrunResponseError(f"The server's answer is not a prompt: {'; '.join(faults)}.")


class RecordReader:
    """Parses the body of GET /prompt; with `opened`, that of GET /prompt/stream: each unnamed event is a record."""

    finished, content_seen, partial = False, 0, ""

    def __init__(
        self, status: int, headers: Mapping[str, str], *, limit: int, opened: Callable[[], object] | None = None
    ) -> None:
        self._read = partial(read_record, status=status, headers=headers)
        self._is_stream = opened is not None
        self._body = Body(headers, limit, is_stream=self._is_stream)
        if opened is not None:
            if "event-stream" not in headers.get("content-type", "").lower():
                raise PromptrunResponseError("The server's answer is not a stream of events.")
            opened()

    def feed(self, data: bytes) -> Sequence[PromptRecord]:
        """Take the next bytes; return the records of a stream that they complete."""
        return [self._read(body) for name, body in self._body.feed(data) if self._is_stream and not name]

    def close(self) -> Sequence[PromptRecord]:
        """Take the end; return the record of a document. A stream's event that was cut off is dropped."""
        if self._is_stream:
            return ()
        events = self._body.close()
        if not self._body.is_document:
            raise PromptrunResponseError("The server's answer is a stream of events, not a prompt.")
        return [self._read(body) for _, body in events]


def record_path(folder: str, base_url: str, query: Mapping[str, str | int]) -> Path:
    """Return the path of the last good record; its name is a hash of address, project, and tag or version."""
    identity = "\n".join([base_url, *(f"{name}={value}" for name, value in sorted(query.items()))])
    path = Path(folder, f"prompt-{hashlib.sha256(identity.encode()).hexdigest()[:40]}.json")
    with suppress(RuntimeError):  # an unknown user's home is a name like any other
        path = path.expanduser()
    return path


def write_record(path: Path, record: PromptRecord) -> None:
    """Replace the file atomically, where it has changed; only its owner may read it."""
    data = record.to_wire()
    with suppress(OSError):
        if path.read_bytes() == data:
            return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".prompt-", dir=path.parent) as folder:
        written = Path(folder, path.name)
        written.touch(mode=0o600)
        with written.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        written.replace(path)


def stored_record(path: Path) -> PromptRecord | None:
    """Return the record of a file, or None where it is missing or holds something else."""
    with suppress(FileNotFoundError, PromptrunError):
        return read_record(path.read_bytes())
    return None


def render(text: str, values: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Insert values, which are never expanded; return the text, and what stayed between double braces."""
    unfilled: dict[str, None] = {}

    def insert(found: re.Match[str]) -> str:
        value = _look_up(values, found[1])
        if value is _MISSING:
            unfilled[found[1]] = None
            return found[0]
        return str(value)

    return _PATH.sub(insert, text), (*unfilled, *find_odd_names(text))


def _look_up(values: Mapping[str, Any], path: str) -> Any:
    """Walk mappings, and public fields of pydantic models and dataclasses."""
    value: Any = values
    for name in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(name, _MISSING)
            continue
        fields: Iterable[str] = ()
        if isinstance(value, BaseModel):
            kind = type(value)
            fields = (*kind.model_fields, *kind.model_computed_fields, *(value.model_extra or ()))
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = (field.name for field in dataclasses.fields(value))
        value = getattr(value, name, _MISSING) if name in fields and not name.startswith("_") else _MISSING
        if callable(value):
            return _MISSING
    return value


def refuse_unfilled(unfilled: tuple[str, ...], given: Iterable[str], *, prompt: str, version: int | str) -> NoReturn:
    """Raise PromptrunMissingVariableError for variables without a value, and for odd names."""
    missing, values = (", ".join(f"`{name}`" for name in names) for names in (unfilled, given))
    rule = "Names have letters, digits and `_`, with dots between them: rename them in the dashboard. "
    advice = "" if all(_PATH.fullmatch(f"{{{{{name}}}}}") for name in unfilled) else rule
    raise PromptrunMissingVariableError(
        f"No value for {missing} of {prompt}, version {version}. Values were given for: {values or 'none'}. {advice}"
        'Set `missing="keep"` to leave variables without a value in the text.',
        unfilled,
    )


def read_conversation(value: Any) -> list[BaseMessage]:
    """Convert the value of `messages`; a tuple, which may be one message or several of them, is refused."""
    if value is None:
        return []
    if isinstance(value, BaseMessage | str):
        value = [value]
    if not isinstance(value, list | PromptValue):
        raise TypeError(f"`messages` is of type {type(value).__name__}. It takes {_ACCEPTED}.")
    try:
        return convert_to_messages(value)
    except NotImplementedError as error:
        raise TypeError(f"`messages` holds something else than messages. It takes {_ACCEPTED}. {error}") from error
