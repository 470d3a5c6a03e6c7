"""What a wire fault is: what the server does to a call, how the call is set up, and what its caller must see."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from langchain_core import exceptions as core

from langchain_promptrun import errors
from langchain_promptrun.testing import Fault, Reply
from wire_faults.wire import COUNTS, TEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_promptrun.testing import RecordedRequest
    from wire_faults.world import World

PLAIN = ("invoke", "ainvoke")
STREAMED = ("stream", "astream", "v3", "av3")
ALL = (*PLAIN, *STREAMED)
SOME = ("invoke", "astream", "v3")
"""One style of each kind, for faults that take time."""
SOME_STREAMED = ("stream", "astream", "v3")

_PATIENCE = 10.0
"""Seconds that a call may take, on a busy machine, where the fault does not say."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A right answer.

    Attributes:
        text: The whole text.
        tool_calls: Names and arguments of the calls that may be executed.
        invalid: Names and arguments of the calls that may not, these as far as they came.
        usage: Input, output and total tokens; None: no counts at all.
        reasoning: The whole reasoning.
        finish: The finish reason; None: none.
        metadata: Further entries that `response_metadata` must have.
    """

    text: str = TEXT
    tool_calls: Sequence[tuple[str, Mapping[str, Any]]] = ()
    invalid: Sequence[tuple[str, str]] = ()
    usage: tuple[int, int, int] | None = COUNTS
    reasoning: str = ""
    finish: str | None = "stop"
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An error.

    Attributes:
        kinds: The error's class; several, where it depends on the HTTP client.
        says: What its text must hold.
        hides: What neither its text nor its attributes may hold.
        after: The text that came before it in a stream; None: nothing at all was handed out.
        facts: Attributes of the error.
        exact: Whether a class below will not do.
        named: Whether langchain-core has a class for just this condition. Where it has none, any `ModelError` that
            is as retryable will do for the peers.
    """

    kinds: tuple[type[errors.PromptrunError], ...]
    says: Sequence[str] = ()
    hides: Sequence[str] = ()
    after: str | None = None
    facts: Mapping[str, Any]
    exact: bool = True
    named: bool = True

    @property
    def cores(self) -> tuple[type[core.ModelError], ...]:
        """The classes of langchain-core for the condition."""
        if not self.named:
            return (core.ModelError,)
        return tuple(next(base for base in kind.__mro__ if base.__module__ == core.__name__) for kind in self.kinds)


def failure(
    kind: str | tuple[str, ...],
    *says: str,
    hides: Sequence[str] = (),
    after: str | None = None,
    exact: bool = True,
    named: bool = True,
    **facts: Any,
) -> Failure:
    """An error by the name of its class without `Promptrun` and `Error`, what it says, and its attributes."""
    names = (kind,) if isinstance(kind, str) else kind
    kinds = tuple(getattr(errors, f"Promptrun{name}Error") for name in names)
    return Failure(kinds=kinds, says=says, hides=hides, after=after, facts=facts, exact=exact, named=named)


Item = Reply | Fault | str


@dataclass(frozen=True)
class WireFault:
    """One fault.

    Attributes:
        name: Tells it from all others.
        items: What the server sends: one item, or one for each request; or what makes the items of a world.
        sees: What the caller must see.
        settings: The model's, beside a key, an address and a time-out.
        retries: The model's `max_retries`.
        styles: The styles of calls in which it can occur.
        clients: The HTTP clients in which it is tried, of those that carry the style.
        requests: How many requests the server must see.
        within: Seconds that the call may take at most.
        at_least: Seconds that the call must take.
        target: Whom the call goes to, a name that the world knows.
        prompt_bytes: The size of a prompt in place of the usual question.
        first: Settings of a call that is made before, and goes well.
        look: Looks at the requests; true where they are right.
    """

    name: str
    items: Item | Sequence[Item] | Callable[[World], Sequence[Item]] = ()
    sees: Answer | Failure = field(default_factory=Answer)
    _: KW_ONLY
    settings: Mapping[str, Any] = field(default_factory=dict)
    retries: int = 0
    styles: Sequence[str] = ALL
    clients: Sequence[str] = ("httpx", "aiohttp")
    requests: int = 1
    within: float = _PATIENCE
    at_least: float = 0.0
    target: str = "server"
    prompt_bytes: int = 0
    first: Mapping[str, Any] | None = None
    look: Callable[[Sequence[RecordedRequest]], bool] | None = None

    @property
    def model_settings(self) -> dict[str, Any]:
        return {"max_retries": self.retries, **self.settings}
