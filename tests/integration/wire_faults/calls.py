"""The six styles in which a model is called, what the caller sees of one call, and how it differs from what it must."""

import pickle
import time
import traceback
from dataclasses import dataclass, field
from typing import Any

from langchain_core.exceptions import ModelError

from wire_faults.fault import HEADER, KEY, PLAIN, QUESTION, Answer

SYNC = ("invoke", "stream", "v3")
ASYNC = ("ainvoke", "astream", "av3")
_MOST_SECONDS = 10.0  # on a busy machine
_COUNTS = ("input_tokens", "output_tokens", "total_tokens")


@dataclass
class Seen:
    """What the caller saw of one call, which is made in its `with` block: also what came before an error."""

    message: Any = None
    error: Exception | None = None
    items: list[Any] = field(default_factory=list)  # the chunks or events that were handed out
    seconds: float = 0.0
    requests: Any = ()  # that the server saw because of it

    def __enter__(self):
        self.seconds = -time.monotonic()
        return self

    def __exit__(self, _kind, error, _trace):
        self.seconds += time.monotonic()
        if not isinstance(error, Exception):
            return False
        self.error, self.message = error, None
        return True

    @property
    def text(self):
        """The text of the stream, as it was handed out."""
        deltas = [item.get("delta") or {} for item in self.items if isinstance(item, dict)]
        texts = [delta["text"] for delta in deltas if delta.get("type") == "text-delta"]
        return "".join([*texts, *(str(item.text) for item in self.items if not isinstance(item, dict))])


def call(model, style, fault):
    prompt = "word " * (fault.prompt_bytes // 5) or QUESTION
    with Seen() as seen:
        if style == "invoke":
            seen.message = model.invoke(prompt)
            return seen
        stream = model.stream(prompt) if style == "stream" else model.stream_events(prompt, version="v3")
        for item in stream:
            seen.items.append(item)
        seen.message = seen.items[0] + seen.items[1:] if style == "stream" else stream.output
    return seen


async def acall(model, style, fault):
    prompt = "word " * (fault.prompt_bytes // 5) or QUESTION
    with Seen() as seen:
        if style == "ainvoke":
            seen.message = await model.ainvoke(prompt)
            return seen
        stream = model.astream(prompt) if style == "astream" else await model.astream_events(prompt, version="v3")
        async for item in stream:
            seen.items.append(item)
        seen.message = seen.items[0] + seen.items[1:] if style == "astream" else await stream.output
    return seen


def complaints(fault, style, seen):
    """All that is wrong with what ChatPromptrun made of a fault."""
    about = _about_answer if isinstance(fault.sees, Answer) else _about_failure
    found = list(about(fault.sees, style, seen))
    if not fault.at_least <= seen.seconds <= _MOST_SECONDS:
        found.append(f"took {seen.seconds:.2f} s, not {fault.at_least} to {_MOST_SECONDS}")
    if len(seen.requests) != fault.requests:
        found.append(f"{len(seen.requests)} requests, not {fault.requests}")
    elif fault.look is not None and not fault.look(seen.requests):
        found.append(f"the requests are not right: {seen.requests}")
    return found


def differences(answer, message):
    """Where a message differs in what any chat model tells: text, tool calls, usage, finish reason."""
    if message is None:
        yield "no message"
        return
    yield from _unequal("text", str(message.text), answer.text)
    yield from _unequal("tool calls", [(c["name"], c["args"]) for c in message.tool_calls], [*answer.tool_calls])
    invalid = [(call["name"], str(call["args"])) for call in message.invalid_tool_calls]
    # in a sum of chunks something may follow that keeps langchain-core from completing the arguments
    same = [(name, args[: len(come)]) for (name, args), (_, come) in zip(invalid, answer.invalid, strict=False)]
    yield from _unequal("invalid tool calls", same + invalid[len(same) :], [*answer.invalid])
    usage = message.usage_metadata
    yield from _unequal("usage", usage and tuple(usage[name] for name in _COUNTS), answer.usage)
    yield from _unequal("finish reason", message.response_metadata.get("finish_reason"), answer.finish)


def _about_answer(answer, style, seen):
    message = seen.message
    if seen.error is not None:
        yield f"raised {seen.error!r}"
        return
    yield from differences(answer, message)
    blocks = [block for block in message.content_blocks if block["type"] == "reasoning"]
    yield from _unequal("reasoning", "".join(str(block.get("reasoning")) for block in blocks), answer.reasoning)
    metadata = {key: message.response_metadata.get(key) for key in answer.metadata}
    yield from _unequal("metadata", metadata, {**answer.metadata})
    idents = [call["id"] for call in [*message.tool_calls, *message.invalid_tool_calls]]
    if len({*idents, None, ""}) != len(idents) + 2:
        yield f"the calls' ids are {idents}"
    if style not in PLAIN:
        yield from _unequal("texts handed out", seen.text, answer.text)


def _about_failure(failure, style, seen):
    error, text = seen.error, str(seen.error)
    if error is None:
        yield f"no error, but {seen.message!r}"
        return
    if not isinstance(error, failure.kinds) or (failure.exact and type(error) not in failure.kinds):
        yield f"raised {error!r}, no {failure.kinds[0].__name__}"
        return
    yield from _unequal("facts", {name: getattr(error, name) for name in failure.facts}, {**failure.facts})
    yield from (f"{said!r} is not in {text!r}" for said in failure.says if said not in text)
    if len(text) > 1_000 or text.count("\n") > 1:
        yield f"too long: {text!r}"
    if error.request_id is not None and not text.endswith(f"request id: {error.request_id})"):
        yield f"the request id is not at the end of {text!r}"
    if error.response is not None and not isinstance(error.response.text, str):
        yield "the response is not read"
    if not isinstance(error, ModelError):
        yield f"{type(error).__name__} is no ModelError"
    told = "".join(traceback.format_exception(error)) + repr((_held(error), pickle.dumps(error)))
    secrets = (KEY, HEADER, QUESTION, *failure.hides)
    yield from (f"{kept!r} can be found from the error" for kept in secrets if kept in told)
    yield from _unequal("partial", error.partial, failure.after or None)
    if style not in PLAIN:
        yield from _unequal("texts handed out", seen.text, failure.after or "")
        if failure.after is None and seen.items:
            yield f"{len(seen.items)} items before the error"


def _held(error):
    """What can be reached from an error: its attributes, its response's headers, the errors before it."""
    held = [error.args, vars(error)]
    if (response := getattr(error, "response", None)) is not None:
        held += [response.headers.raw, response.text, vars(response)]
    return held + [_held(earlier) for earlier in (error.__cause__, error.__context__) if earlier is not None]


def _unequal(name, is_, should):
    if is_ != should:
        yield f"{name}: {short(is_)}, not {short(should)}"


def short(value):
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:200]}... ({len(text)} characters)"
