"""Tell an input too long for the model from other refusals, by words: vendors use 400, 413, 422, 429 and 500."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# All patterns are strings: `re` compiles them when an error needs them, and keeps them.
_MARKUP = r"[`'\"*\\]"
_GROUPING = r"(?<=\d)[,_](?=\d{3})"

# `code` and `type` values, in lower case without punctuation: context_length_exceeded (OpenAI),
# exceed_context_size_error (llama.cpp), ContextWindowExceededError (LiteLLM).
_NAME = r"context(?:length|window|size|limit|overflow)|(?:prompt|input)toolong"


def _any_of(*patterns: str) -> str:
    return "|".join(f"(?:{pattern})" for pattern in patterns)


# Where `asked`, the output alone, is over `limit`, a shorter input would not help.
_OUTPUT_ALONE = (
    r"too large: (?P<asked>\d{1,12}).{0,80}?context length is (?P<limit>\d{1,12})",
    r"context length is (?P<limit>\d{1,12}).{0,160}?(?P<asked>\d{1,12}) in the completion",
    r"exceed context limit: \d{1,12} \+ (?P<asked>\d{1,12}) > (?P<limit>\d{1,12})",
    r"max (?:completion |new |output )?tokens ?[=:(]? ?(?P<asked>\d{1,12}).{0,60}?(?P<limit>\d{1,12})",
)

# Sure signs, which outweigh the words of a rate limit beside them. OpenAI and Groq answer a single request
# above the whole per-minute allowance with a rate-limit error; waiting never helps there, a shorter input does.
_SURE = _any_of(r"context ?(?:length|window) ?exceeded", r"request too large for .{1,300}?\breduced?\b")

# A rate, a quota, an empty account or a busy server: the same input may pass later.
_PASSING = _any_of(
    r"per[ -](?:second|min|minute|hour|day|model)\b|this minute",
    r"rate.?limit",
    r"quota",
    r"\bcredits?\b",
    r"throttl|unavailable",
    r"please (?:wait|retry)",
    r"try again (?:in|later)",
)

_CONTEXT = r"(?:context ?(?:length|window|size|limit)|model (?:input )?length)"
_INPUT = r"(?:input|prompt|message|conversation|context)s?"
_BEYOND = r"(?:exceed|overflow|longer than|larger than|greater than|more than|too (?:long|large|big)|beyond)"
_AT_MOST = r"(?:only|must (?:be|have) (?:<|less|fewer|at most)|should be \[|up to|cannot exceed)"

_OVERFLOW = _any_of(
    rf"{_BEYOND}.{{0,80}}?{_CONTEXT}",
    rf"{_CONTEXT}.{{0,40}}?(?:{_BEYOND}|full\b|\b(?:is|of) (?:only )?\d)",
    r"max(?:imum)? (?:prompt|context|input|sequence) (?:length|size|window)",
    rf"\b{_INPUT}(?: \([^)]{{0,60}}\))?(?: is| are| was| were)? too (?:long|large)",
    rf"\b{_INPUT} (?:tokens?|length|token (?:count|length))\b[^.]{{0,50}}?(?:{_BEYOND}|{_AT_MOST})",
    rf"\b{_INPUT} must (?:be|have) (?:less|fewer|at most)[^.]{{0,30}}?tokens",
    r"too many (?:input |prompt )?tokens",
    r"exceed\w* (?:the |this )?(?:models? )?(?:max(?:imum)? )?(?:token|input|prompt|sequence) (?:limit|length)",
    r"max(?:imum)? size:? \d+ tokens",
    r"max tokens of \d+ exceeded",
    r"\b(?:n ctx|max seq len|max model len)\b",
    r"(?:reduce|shorten|decrease) (?:the |your )?(?:length of (?:the |your )?)?(?:messages?|prompt|input)\b",
    r"shorter (?:prompt|input)",
    r"\btokens? limit exceeded:? \d+ > \d",
    r"(?:prompt|上下文|提示词|输入).{0,10}?(?:超长|超出|超过|过长)",
)


def is_context_overflow(text: str, names: Iterable[str] = ()) -> bool:
    """Whether a server's error means that the input does not fit the model's context."""
    plain = _plain(text)
    if any(_output_alone(pattern, plain) for pattern in _OUTPUT_ALONE):
        return False
    if any(re.search(_NAME, name) for name in names) or re.search(_SURE, plain):
        return True
    return not re.search(_PASSING, plain) and bool(re.search(_OVERFLOW, plain))


def _plain(text: str) -> str:
    """The text in lower case, without markup, with `1,000` as `1000` and `max_tokens` as two words."""
    text = re.sub(_GROUPING, "", re.sub(_MARKUP, "", text.lower()))
    return " ".join(text.replace("_", " ").split())


def _output_alone(pattern: str, plain: str) -> bool:
    found = re.search(pattern, plain)
    return found is not None and int(found["asked"]) >= int(found["limit"])
