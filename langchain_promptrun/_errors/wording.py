"""Tell by a server's words an input too long for the model, and an empty account: vendors' statuses differ."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# All patterns are strings: `re` compiles them when an error needs them, and keeps them.
# `code` and `type` values, in lower case without punctuation: context_length_exceeded (OpenAI),
# exceed_context_size_error (llama.cpp), ContextWindowExceededError (LiteLLM).
_NAME = r"context(?:length|window|size|limit|overflow)|(?:prompt|input)toolong"

# Where `asked`, the output alone, is over `limit`, a shorter input would not help.
_OUTPUT_ALONE = (
    r"too large: (?P<asked>\d{1,12}).{0,80}?context length is (?P<limit>\d{1,12})",
    r"context length is (?P<limit>\d{1,12}).{0,160}?(?P<asked>\d{1,12}) in the completion",
    r"exceed context limit: \d{1,12} \+ (?P<asked>\d{1,12}) > (?P<limit>\d{1,12})",
    r"max (?:completion |new |output )?tokens ?[=:(]? ?(?P<asked>\d{1,12}).{0,60}?(?P<limit>\d{1,12})",
)

# Sure signs, which outweigh the words of a rate limit beside them. OpenAI and Groq answer a single request
# above the whole per-minute allowance with a rate-limit error; waiting never helps there, a shorter input does.
_SURE = r"context ?(?:length|window) ?exceeded|request too large for .{1,300}?\breduced?\b"

# A rate, a quota, an empty account or a busy server: the same input may pass later.
_PASSING = (
    r"per[ -](?:second|min|minute|hour|day|model)\b|this minute|rate.?limit|quota|\bcredits?\b|throttl|unavailable"
    r"|please (?:wait|retry)|try again (?:in|later)"
)

_CONTEXT = r"(?:context ?(?:length|window|size|limit)|model (?:input )?length)"
_INPUT = r"(?:input|prompt|message|conversation|context)s?"
_BEYOND = r"(?:exceed|overflow|longer than|larger than|greater than|more than|too (?:long|large|big)|beyond)"
_AT_MOST = r"(?:only|must (?:be|have) (?:<|less|fewer|at most)|should be \[|up to|cannot exceed)"
_OVERFLOW = "|".join(
    (
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
)

# An empty account answers 429 at OpenAI; waiting does not fill it.
_QUOTA_NAMES = (
    r"insufficient(?:quota|credits|balance)|notenoughbalance|arrearage|billinghardlimitreached|budgetexceeded"
    r"|(?:organization|project)spendlimitexceeded"
)
_EMPTY_ACCOUNT = (
    r"(?:insufficient|not enough|\bno remaining) (?:(?:account|api|available|prepaid|wallet) )?"
    r"(?:balance|credits?|funds?|quota)|(?:balance|credits?)\b.{0,30}?"
    r"(?:insufficient|not enough|too low|exhausted|depleted|used up)|\bfree (?:credits?|quota|tier)\b.{0,30}?exhausted"
    r"|\bused (?:all|up)\b.{0,20}?\bcredits|can only afford|requires more credits|monthly included credits"
    r"|recharge|\btop[ -]?up\b|out of credits?|arrears|add (?:more )?(?:credits?|funds)|no credits"
    r"|\boverdue (?:balance|bill|invoice|payment|status)|\b(?:account|bill|invoice|payment)s?\b.{0,20}?\boverdue"
    r"|exceeded your current quota|billing (?:hard )?limit|spend(?:ing)? limit|specified api usage limit"
    r"|\bkey limit exceeded|payment (?:method )?required|\b(?:add|enter) (?:a|your) (?:valid )?payment method"
    r"|exceeded ?budget|over budget|(?<!context )(?<!reasoning )(?<!thinking )(?<!time )(?<!token )\bbudget "
    r"(?:(?:has been|is|was) )?exceeded|余额不足|额度不足|额度已用|欠费|充值"
)


def is_context_overflow(text: str, names: Iterable[str] = ()) -> bool:
    """Whether a server's error means that the input does not fit the model's context."""
    # without markup, with `1,000` as `1000` and `max_tokens` as two words
    plain = re.sub(r"(?<=\d)[,_](?=\d{3})", "", re.sub(r"[`'\"*\\]", "", text.lower()))
    plain = " ".join(plain.replace("_", " ").split())
    outputs = (re.search(pattern, plain) for pattern in _OUTPUT_ALONE)
    if any(found and int(found["asked"]) >= int(found["limit"]) for found in outputs):
        return False
    if any(re.search(_NAME, name) for name in names) or re.search(_SURE, plain):
        return True
    return not re.search(_PASSING, plain) and bool(re.search(_OVERFLOW, plain))


def is_account_empty(text: str, names: Iterable[str], *, has_wait: bool) -> bool:
    """Whether an error means that money is missing; a server that names a wait in words means a rate."""
    if any(re.fullmatch(_QUOTA_NAMES, name) for name in names):
        return True
    return not has_wait and bool(re.search(_EMPTY_ACCOUNT, text.lower()))
