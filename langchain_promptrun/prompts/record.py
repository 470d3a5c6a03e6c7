"""Records of managed prompts, and parsers of the responses that hold them.

The fields are those of Promptrun's page "Prompt API" and of the types of Promptrun's Node SDK; what else comes is kept.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from langchain_promptrun._errors.mapping import error_from_document
from langchain_promptrun._responses.parser import Body
from langchain_promptrun._wire import json as _json
from langchain_promptrun.errors import PromptrunError, PromptrunResponseError
from langchain_promptrun.prompts.template import find_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic.functional_validators import ModelWrapValidatorHandler

FALLBACK_VERSION = 0  # Promptrun's own count from 1


class _Wire(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="allow", frozen=True, protected_namespaces=()
    )

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


_CHANGING = ("version", "prompt", "tag", "temperature", "model", "updated_at", "updatedAt")


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
        """Names of the text's variables, in the order of their first appearance."""
        return find_variables(self.prompt)

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
    if (reported := error_from_document(document, status=status, headers=headers)) is not None:
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
        ((_, body),) = events
        return (self._read(body),)


def record_path(folder: str, base_url: str, query: Mapping[str, str | int]) -> Path:
    """Return the path of the last good record; its name is a hash of address, project, and tag or version."""
    identity = "\n".join([base_url, *(f"{name}={value}" for name, value in sorted(query.items()))])
    path = Path(folder, f"prompt-{hashlib.sha256(identity.encode()).hexdigest()[:40]}.json")
    with suppress(RuntimeError):  # an unknown user's home is a name like any other
        return path.expanduser()
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
