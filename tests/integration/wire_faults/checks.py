"""What a caller saw against what it must see: a list of complaints, empty where all is right."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from langchain_core.exceptions import ModelError

from wire_faults.fault import PLAIN, Answer, Failure
from wire_faults.wire import KEY, QUESTION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import AIMessage

    from wire_faults.calls import Seen
    from wire_faults.fault import WireFault

_LONGEST_MESSAGE = 1_000
_COUNTS = ("input_tokens", "output_tokens", "total_tokens")


def complaints(fault: WireFault, style: str, seen: Seen) -> list[str]:
    """All that is wrong with what ChatPromptrun made of a fault."""
    sees = fault.sees
    found = [*(_about_answer(sees, style, seen) if isinstance(sees, Answer) else _about_failure(sees, style, seen))]
    if seen.seconds > fault.within or seen.seconds < fault.at_least:
        found.append(f"took {seen.seconds:.2f} s, not {fault.at_least} to {fault.within}")
    if len(seen.requests) != fault.requests:
        found.append(f"{len(seen.requests)} requests, not {fault.requests}")
    elif fault.look is not None and not fault.look(seen.requests):
        found.append(f"the requests are not right: {seen.requests}")
    return found


def outcome(fault: WireFault, seen: Seen) -> tuple[str, str] | None:
    """What is wrong in langchain-core's terms alone, whatever the package: of what kind it is, and the details."""
    sees, error = fault.sees, seen.error
    if isinstance(sees, Answer):
        if error is not None:
            return "error instead of the answer", _short(error)
        differences = ", ".join(_differences(sees, seen.message))
        return ("wrong answer", differences) if differences else None
    if error is None:
        return "error passed over", _short(seen.message)
    if not isinstance(error, ModelError):
        return "error without a class of langchain-core", _short(error)
    alike = sees.named or error.is_retryable == sees.kinds[0].is_retryable
    if not isinstance(error, sees.cores) or not alike:
        return "error of another class of langchain-core", f"{_short(error)}, none of {sees.cores}"
    return None


def _differences(answer: Answer, message: AIMessage | None) -> Iterator[str]:
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


def _about_answer(answer: Answer, style: str, seen: Seen) -> Iterator[str]:
    if seen.error is not None:
        yield f"raised {seen.error!r}"
        return
    yield from _differences(answer, seen.message)
    message = seen.message
    if message is None:
        return
    blocks = [block for block in message.content_blocks if block["type"] == "reasoning"]
    yield from _unequal("reasoning", "".join(str(block.get("reasoning")) for block in blocks), answer.reasoning)
    metadata = {key: message.response_metadata.get(key) for key in answer.metadata}
    yield from _unequal("metadata", metadata, {**answer.metadata})
    idents = [call["id"] for call in [*message.tool_calls, *message.invalid_tool_calls]]
    if len({*idents, None, ""}) != len(idents) + 2:
        yield f"the calls' ids are {idents}"
    if style not in PLAIN:
        yield from _unequal("texts handed out", seen.text, answer.text)


def _about_failure(failure: Failure, style: str, seen: Seen) -> Iterator[str]:
    error = seen.error
    if error is None:
        yield f"no error, but {seen.message!r}"
        return
    if not isinstance(error, failure.kinds) or (failure.exact and type(error) not in failure.kinds):
        yield f"raised {error!r}, no {failure.kinds[0].__name__}"
        return
    yield from _unequal("facts", {name: getattr(error, name) for name in failure.facts}, {**failure.facts})
    yield from _about_text(failure, error)
    yield from _unequal("partial", error.partial, failure.after or None)
    if style not in PLAIN:
        yield from _unequal("texts handed out", seen.text, failure.after or "")
        if failure.after is None and seen.items:
            yield f"{len(seen.items)} items before the error"


def _about_text(failure: Failure, error: Any) -> Iterator[str]:
    text = str(error)
    yield from (f"{said!r} is not in {text!r}" for said in failure.says if said not in text)
    if len(text) > _LONGEST_MESSAGE or text.count("\n") > 1:
        yield f"too long: {text!r}"
    if error.request_id is not None and not text.endswith(f"request id: {error.request_id})"):
        yield f"the request id is not at the end of {text!r}"
    if error.response is not None and not isinstance(error.response.text, str):
        yield "the response is not read"
    told = "".join(traceback.format_exception(error)) + repr(_held(error))
    yield from (
        f"{secret!r} can be found from the error" for secret in (KEY, QUESTION, *failure.hides) if secret in told
    )
    if not isinstance(error, ModelError):
        yield f"{type(error).__name__} is no ModelError"


def _held(error: BaseException) -> list[Any]:
    """What can be reached from an error: its attributes, its response's headers, the errors before it."""
    held: list[Any] = [error.args, vars(error)]
    if (response := getattr(error, "response", None)) is not None:
        held += [response.headers.raw, response.text, vars(response)]
    for earlier in (error.__cause__, error.__context__):
        if earlier is not None:
            held += _held(earlier)
    return held


def _unequal(name: str, is_: Any, should: Any) -> Iterator[str]:
    if is_ != should:
        yield f"{name}: {_short(is_)}, not {_short(should)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:200]}... ({len(text)} characters)"
