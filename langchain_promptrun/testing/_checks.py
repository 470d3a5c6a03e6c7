"""Checks of a chat completion's body by OpenAI's reference; unknown parameters pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

_MEDIA = {"image_url", "input_audio", "file"}
_PARTS = {"user": {"text", "video_url", *_MEDIA}, "assistant": {"text", "refusal"}, "tool": {"text", *_MEDIA}}
"""The content parts that a role may hold, others text alone; for `tool` and `video_url` what gateways take."""

_WITH = {"stream_options": "stream", "top_logprobs": "logprobs", "tool_choice": "tools", "parallel_tool_calls": "tools"}
"""The parameters that OpenAI's reference allows only beside another one."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


@dataclass(eq=False)
class RefusedError(Exception):
    """A request that gets an error instead of an answer."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Call(_Part):
    class _Function(_Part):
        name: str
        arguments: str

    id: str
    function: _Function


class _Tool(_Part):
    class _Function(_Part):
        name: Name

    type: str
    function: _Function | None = None


class _Message(_Part):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    name: Name | None = None
    content: str | list[Any] | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        instead = (getattr(self, key, None) for key in ("tool_calls", "refusal", "function_call", "audio"))
        if self.content is None and not any(instead):
            raise ValueError("'content' must be a string or a list of parts, not null")
        known = _PARTS.get(self.role, {"text"})
        for part in self.content if isinstance(self.content, list) else ():
            kind = part.get("type") if isinstance(part, dict) else None
            if kind not in known or kind not in part:
                expected = ", ".join(sorted(known))
                raise ValueError(f"Invalid content part '{kind}' of a '{self.role}' message; it may hold {expected}")
        return self


class _Lenient(_Part):
    model: str
    messages: list[dict[str, Any]]


class _Strict(_Part):
    model: str
    messages: list[_Message]
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    seed: int | None = None
    stream: bool | None = None
    logprobs: bool | None = None
    parallel_tool_calls: bool | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    stream_options: dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    tools: Annotated[list[_Tool], Field(min_length=1)] | None = None
    tool_choice: Literal["auto", "none", "required"] | dict[str, Any] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name, needed in _WITH.items():
            if getattr(self, name) is not None and not getattr(self, needed):
                raise ValueError(f"'{name}' is only allowed with '{needed}'")
        functions = [tool.function and tool.function.name for tool in self.tools or () if tool.type == "function"]
        chosen = isinstance(self.tool_choice, dict) and self.tool_choice.get("function", {}).get("name")
        if self.max_tokens and self.max_completion_tokens:
            raise ValueError("'max_tokens' excludes 'max_completion_tokens'")
        if None in functions:
            raise ValueError("A tool of type 'function' needs a 'function'")
        if chosen and chosen not in functions:
            raise ValueError(f"'tool_choice' names '{chosen}', which 'tools' lacks")
        return self

    @field_validator("messages")
    @classmethod
    def _answers_its_tool_calls(cls, messages: list[_Message]) -> list[_Message]:
        waiting: set[str | None] = set()  # tool calls, whose results must come right after them
        for position, message in enumerate([*messages, None]):
            if message is not None and message.role == "tool":
                if message.tool_call_id not in waiting:
                    raise ValueError(f"'messages[{position}]' must answer a tool call of the message before it")
                waiting.remove(message.tool_call_id)
            elif waiting:
                missing = ", ".join(map(str, waiting))
                raise ValueError(f"Tool calls need a 'tool' message each right after them; missing: {missing}")
            elif message is not None:
                waiting = {call.id for call in message.tool_calls or ()}
        return messages


def spelled(place: Sequence[str | int]) -> str:
    """Return the keys and indexes that lead to a value as one writes them: `tools[0].name`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place).removeprefix(".")


def check(body: Any, *, strict: bool, stored: bool) -> None:
    """Refuse a body that is no chat completion request; with `stored` the messages may be empty."""
    if not isinstance(body, dict):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "The request's body must be a JSON object.")
    try:
        (_Strict if strict else _Lenient).model_validate(body)
    except ValidationError as error:
        problem = error.errors()[0]
        where, what = spelled(problem["loc"]), problem["msg"].removeprefix("Value error, ")
        text = f"Invalid value for '{where}': {what}." if where else f"{what}."
        raise RefusedError(HTTPStatus.BAD_REQUEST, text, where or None) from error
    if not (body["messages"] or stored):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "'messages' must hold at least one message.", "messages")
