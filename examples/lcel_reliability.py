# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""When a call fails: ask again, ask another model, and do not ask too often in the first place."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from langchain_core.exceptions import OutputParserException
from langchain_core.output_parsers import JsonOutputParser
from langchain_core.rate_limiters import InMemoryRateLimiter
from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun, PromptrunAPIError
from langchain_promptrun.testing import Fault, PromptrunServer, Reply

if TYPE_CHECKING:
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.runnables import Runnable

OVERLOADED = {"error": {"message": "The vendor is overloaded.", "code": 529}}


def retried() -> Any:
    """Ask up to three times until the answer is JSON; the model alone retries only what the wire got wrong."""
    chain = ChatPromptrun(model="openai/gpt-4o", max_retries=0) | JsonOutputParser()
    again = chain.with_retry(
        retry_if_exception_type=(OutputParserException, PromptrunAPIError),
        stop_after_attempt=3,
        exponential_jitter_params={"max": 0.05},
    )
    return again.invoke('Answer with JSON that has the key "city": the capital of Georgia.')


def with_two_in_reserve() -> Runnable[LanguageModelInput, Any]:
    """Build a model with two others that step in, in this order, where it fails."""
    first, second, third = (
        ChatPromptrun(model=name, max_retries=0)
        for name in ("anthropic/claude-sonnet-5", "openai/gpt-4o", "anthropic/claude-haiku-4.5")
    )
    return first.with_fallbacks([second, third], exceptions_to_handle=(PromptrunAPIError,))


def streamed() -> tuple[str, str]:
    """Stream from the first model that starts to answer; return its name and what it said."""
    chunks = list(with_two_in_reserve().stream("Tell me a fun fact about space."))
    name = next(chunk.response_metadata["model_name"] for chunk in chunks if "model_name" in chunk.response_metadata)
    return name, "".join(chunk.text for chunk in chunks)


def in_rhythm(calls: int, per_second: float) -> float:
    """Make some calls, no more of them in a second than a limiter allows; return the seconds they took."""
    limiter = InMemoryRateLimiter(requests_per_second=per_second, check_every_n_seconds=0.01, max_bucket_size=1)
    model = ChatPromptrun(model="anthropic/claude-haiku-4.5", rate_limiter=limiter)
    start = time.monotonic()
    for _ in range(calls):
        model.invoke("Hello")
    return time.monotonic() - start


def rehearse(server: PromptrunServer) -> None:
    """Let things go wrong: prose instead of JSON, a server error, a refusal at the door and one in the first event."""
    server.queue(Reply("The capital is Tbilisi."), Fault(status=503), Reply('{"city": "Tbilisi"}'))
    server.queue(Fault(status=500), Fault(error=OVERLOADED, after=0))


def main() -> None:
    """Show all of it."""
    print("retried:", retried())
    print("fallback:", *streamed())
    print(f"five calls at ten a second: {in_rhythm(5, per_second=10):.1f} s")


if __name__ == "__main__":
    run(main, rehearse)
