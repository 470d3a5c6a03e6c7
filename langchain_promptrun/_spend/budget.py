"""Limits on what calls may cost, held before anything is sent."""

from __future__ import annotations

import re
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING, Any, Self

from typing_extensions import override

from langchain_promptrun._guards import CALL_GUARDS, ObservedCall, final_message
from langchain_promptrun._messages.content import MEDIA_PARTS
from langchain_promptrun._profiles import profile_for
from langchain_promptrun._spend.costs import CostsByModel, prices_of
from langchain_promptrun._tokens import count_messages, count_text
from langchain_promptrun._wire import json as _json
from langchain_promptrun.errors import PromptrunBudgetExceededError, PromptrunTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_core.messages import AIMessage, BaseMessage

    from langchain_promptrun._guards import CallTransport
    from langchain_promptrun._http.request import Request

_RESERVE_MARGIN = 2.0  # text that is not English takes up to twice the tokens of the offline count
_MILLION = 1_000_000
_FIRST_ERROR = 300
_COUNTED_BY_SIZE = MEDIA_PARTS - {"image_url"}
_ELSEWHERE = re.compile('"file_id"|"https?://', re.IGNORECASE)
_PLACES = 12  # to which sums of floating-point numbers are compared with a limit

_Amounts = dict[str, float]  # by `usd`, `tokens` and `calls`


class Budget(CostsByModel):
    """Sums up what the calls of ChatPromptrun in a `with` block cost, and stops them at a limit.

    One budget may be entered by many threads, tasks and requests; its sums span them all. Models of other packages
    are not held by it.
    """

    def __init__(
        self, *, usd: float | None = None, tokens: int | None = None, calls: int | None = None, reserve: bool = False
    ) -> None:
        """Set the limits.

        Args:
            usd: Most US dollars. A call of a model without a known price raises ValueError.
            tokens: Most input and output tokens together.
            calls: Most calls.
            reserve: Whether each call first reserves the most that it can cost: twice the offline count of its
                messages, tools and `response_format`, a token for each byte of a file, and `max_tokens` or the model's
                limit for each of `n` answers; once more for each retry. Without it a call is refused once the limit is
                reached; those under way may go over it.

        Raises:
            ValueError: No limit, or one that is not a number from 0 on; `math.inf` leaves it open.
        """
        super().__init__()
        given = {"usd": usd, "tokens": tokens, "calls": calls}
        self._limits = {name: limit for name, limit in given.items() if limit is not None}
        self._reserve = reserve
        self._reserved = dict.fromkeys(given, 0.0)
        if not self._limits:
            raise ValueError("Budget() has no limit. Set `usd`, `tokens` or `calls`.")
        for name, limit in self._limits.items():
            if not isinstance(limit, int | float) or isinstance(limit, bool) or not limit >= 0:
                raise ValueError(f"Budget() takes for `{name}` a number from 0 on, not {limit!r}.")

    def __enter__(self) -> Self:
        CALL_GUARDS.set((*CALL_GUARDS.get(), self._guard))
        return self

    def __exit__(self, *_: object) -> None:
        # another context may end the block, such as that of a fixture's or a dependency's clean-up
        if self._guard in (guards := list(CALL_GUARDS.get())):
            guards.remove(self._guard)
            CALL_GUARDS.set(tuple(guards))

    def _guard(self, transport: CallTransport, messages: Sequence[BaseMessage]) -> CallTransport:
        return _BudgetedCall(self, transport, messages)

    def take(self, request: Request, messages: Sequence[BaseMessage]) -> _Amounts:
        """Reserve what a call may cost; raises PromptrunBudgetExceededError where that goes over a limit."""
        model = str(request.model)
        if "usd" in self._limits and prices_of(model, 0) is None:
            raise ValueError(
                f"The price of {model!r} is unknown, so `usd` cannot limit it. Use Budget(tokens=...) or "
                "Budget(calls=...), or a model that models.dev has a price of."
            )
        need = {"usd": 0.0, "tokens": 0.0, "calls": 1.0}
        if self._reserve and self._limits.keys() != {"calls"}:
            need = _most_of(model, request, messages)
        with self._lock:
            spent = {"usd": self.total, "tokens": self.tokens, "calls": self.calls}
            for name, limit in self._limits.items():
                over = round(spent[name] + self._reserved[name] + need[name] - limit, _PLACES)
                if over > 0 or (spent[name] >= limit and not self._reserve):
                    raise PromptrunBudgetExceededError(
                        f"The budget of {name}={limit:.6g} does not allow this call of {request.model!r}, and nothing "
                        f"was sent: {spent[name]:.6g} spent, {self._reserved[name]:.6g} reserved by calls under way, "
                        f"{need[name]:.6g} needed. Raise `{name}` to go on."
                    )
            self._reserved = {name: held + need[name] for name, held in self._reserved.items()}
        return need

    def give_back(self, reserved: _Amounts) -> None:
        """End the reservation of a call."""
        with self._lock:
            self._reserved = {name: held - reserved[name] for name, held in self._reserved.items()}


class _BudgetedCall(ObservedCall):
    """A call that is sent if a budget allows it; it tells the budget what it cost."""

    def __init__(self, budget: Budget, transport: CallTransport, messages: Sequence[BaseMessage]) -> None:
        super().__init__(transport)
        self._budget = budget
        self._messages = messages
        self._reserved: _Amounts | None = None

    @override
    @contextmanager
    def around(self, request: Request) -> Iterator[None]:
        self._reserved = self._budget.take(request, self._messages)
        try:
            yield
        except BaseException as error:
            self._settle(request, None, error)
            raise
        self._settle(request, None)

    @override
    def note(self, item: object, request: Request) -> None:
        if (message := final_message(item)) is not None:
            self._settle(request, message)

    def _settle(self, request: Request, message: AIMessage | None, error: BaseException | None = None) -> None:
        reserved, self._reserved = self._reserved, None
        if reserved is None:
            return
        model = str(request.model)
        try:
            if message is not None and (message.usage_metadata or "cost" in message.response_metadata):
                self._budget.record(message, model)
            elif message is not None or self._may_be_billed(error, is_sent=request.under_way):
                tools = _json.loads(request.body or b"{}").get("tools")
                self._budget.record_estimate(model, self._messages, tools, self._parser.partial if self._parser else "")
        finally:
            self._budget.give_back(reserved)

    def _may_be_billed(self, error: BaseException | None, *, is_sent: bool) -> bool:
        """Whether the model may have worked: an answer had begun, or was waited for in vain."""
        if self._parser is None:
            is_late = isinstance(error, PromptrunTimeoutError) and error.phase == "read"
            return is_late or (is_sent and not isinstance(error, Exception))
        return bool(self._parser.partial) or (getattr(error, "status_code", None) or 0) < _FIRST_ERROR


def _most_of(model: str, request: Request, messages: Sequence[BaseMessage]) -> _Amounts:
    body = _json.loads(request.body or b"{}")
    limits = profile_for(model) or {}
    if messages:
        counted = count_messages(messages, body.get("tools")) + count_text(_text(body.get("response_format")))
        tokens_in = ceil(_RESERVE_MARGIN * counted) + _file_tokens(body, model, limits.get("max_input_tokens"))
    else:  # the server has stored them
        tokens_in = _known(limits.get("max_input_tokens"), model, "input")
    each = body.get("max_tokens") or body.get("max_completion_tokens") or limits.get("max_output_tokens")
    tokens_out = (body.get("n") or 1) * _known(each, model, "output")
    attempts = request.max_retries + 1
    usd = 0.0
    if (prices := prices_of(model, tokens_in)) is not None:
        per_input, per_output, _, per_write, per_reasoning = prices
        usd = tokens_in * max(per_input, per_write or 0) + tokens_out * max(per_output, per_reasoning or 0)
    return {"usd": attempts * usd / _MILLION, "tokens": attempts * (tokens_in + tokens_out), "calls": 1.0}


def _file_tokens(body: Mapping[str, Any], model: str, longest: int | None) -> int:
    """Return a token for each byte of files, audio and video, and the longest prompt for what is not in the request."""
    size = 0
    for message in body["messages"]:
        for part in message["content"] if isinstance(message.get("content"), list) else ():
            if part.get("type") in _COUNTED_BY_SIZE:
                text = _text(part)
                size += _known(longest, model, "input") if _ELSEWHERE.search(text) else len(text)
    return size if longest is None else min(size, longest)


def _text(value: object) -> str:
    return _json.dumps(value).decode() if value else ""


def _known(limit: int | None, model: str, kind: str) -> int:
    if not limit:
        raise ValueError(
            f"The {kind} limit of {model!r} is unknown, so the most that a call costs cannot be reserved. "
            "Set `max_tokens`, and pass the messages, or use a Budget without `reserve`."
        )
    return limit
