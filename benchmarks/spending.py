"""Budgets, prompt caching, rate limits and deadlines, against the stand-in server: what the docs say of them.

python benchmarks/spending.py budget [RUNS] | cache | rate [CALLS] | deadlines
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import socket
import sys
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_anthropic.middleware import AnthropicPromptCachingMiddleware
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI

from langchain_promptrun import AdaptiveRateLimiter, Budget, ChatPromptrun, PromptrunError
from langchain_promptrun.testing import Fault, PromptrunServer, RateLimit, Reply
from langchain_promptrun.testing._model import PromptCache

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "anthropic/claude-haiku-4.5"
LIMIT = 0.25
AT_ONCE = 200
CALLS = 10_000


def models(server: PromptrunServer, **settings: Any) -> ChatPromptrun:
    return ChatPromptrun(model=MODEL, api_key=server.api_key, base_url=server.base_url, **settings)


# Budgets: answers of random length, one in twenty requests fails and is sent again.


def spend(body: dict[str, Any]) -> Reply | Fault:
    if random.random() < 0.05:
        return Fault(status=503, headers={"retry-after": "0"})
    tokens_in, tokens_out = random.randint(9, 14), random.randint(1, body["max_tokens"])
    usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
    return Reply("Hello!", usage=usage)


async def budget_run(server: PromptrunServer, *, reserve: bool) -> tuple[float, int]:
    model = models(server, max_tokens=100, max_retries=2)
    with Budget(usd=LIMIT, reserve=reserve) as budget:
        numbers = iter(range(CALLS))

        async def work() -> None:
            for number in numbers:
                with suppress(PromptrunError):
                    await model.ainvoke(f"Hello, number {number}!")

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return budget.total, budget.calls


def budget(runs: int = 20) -> None:
    with PromptrunServer(answer=spend) as server:
        for reserve in (True, False):
            found = [asyncio.run(budget_run(server, reserve=reserve)) for _ in range(runs)]
            spent = [total for total, _ in found]
            over = sum(total > LIMIT for total in spent)
            print(
                f"reserve={reserve}: limit {LIMIT}, spent {min(spent):.5f} to {max(spent):.5f}, "
                f"over in {over} of {runs}"
            )
            print(f"  calls sent {min(n for _, n in found)} to {max(n for _, n in found)} of {CALLS}")


# Prompt caching: an agent of 20 turns with 30 tools, beside ChatAnthropic and its middleware.

TURNS = 20
WORDS = "Look at it with care, and tell what you find there in detail. "


def call_of(turn: int) -> dict[str, Any]:
    return {"name": f"tool_{turn}", "args": {"turn": turn}, "id": f"call_{turn}"}


def shares(model: Any, *middleware: Any) -> str:
    def look(turn: int) -> str:
        return f"{turn}: {WORDS * 10}"

    tools = [
        StructuredTool.from_function(look, name=f"tool_{number}", description=f"Do thing {number}. " + WORDS * 4)
        for number in range(30)
    ]
    agent = create_agent(model, tools, system_prompt=WORDS * 60, middleware=middleware)
    messages = agent.invoke({"messages": [("human", "Begin.")]}, {"recursion_limit": 100})["messages"]
    usages = [message.usage_metadata for message in messages if message.type == "ai"]
    read = sum(usage.get("input_token_details", {}).get("cache_read", 0) for usage in usages)
    total = sum(usage["input_tokens"] for usage in usages)
    return f"{read} of {total} input tokens from the cache, {read / total:.1%}, in {len(usages)} calls"


def cache() -> None:
    for caching in (None, "auto", {"messages": 1}):
        with PromptrunServer(prompt_cache=True) as server:
            server.queue(*(Reply(tool_calls=[call_of(turn)]) for turn in range(TURNS)), "Done.")
            print(f"ChatPromptrun, prompt_caching={caching}:", shares(models(server, prompt_caching=caching)))
    with messages_api() as url:
        model = ChatAnthropic(model=MODEL.rpartition("/")[2], api_key="k", base_url=url)
        print("ChatAnthropic, AnthropicPromptCachingMiddleware:", shares(model, AnthropicPromptCachingMiddleware()))


@contextmanager
def messages_api() -> Iterator[str]:
    """Answer as Anthropic's Messages API does, with the stand-in server's prefix cache."""
    turns, kept = iter(range(TURNS)), PromptCache()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            document = json.dumps(answer_of(body, next(turns, None), kept)).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(document)))
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def answer_of(body: dict[str, Any], turn: int | None, kept: PromptCache) -> dict[str, Any]:
    messages = [{"role": "system", "content": body.get("system")}, *body["messages"]]
    if "cache_control" in body:  # the end of the request, wherever that is (Anthropic, "Automatic caching")
        last = messages[-1]
        parts = [{"type": "text", "text": last["content"]}] if isinstance(last["content"], str) else last["content"]
        last["content"] = [*parts[:-1], parts[-1] | {"cache_control": body["cache_control"]}]
    use = kept.use({"model": f"anthropic/{body['model']}", "tools": body.get("tools"), "messages": messages})
    usage = {
        "input_tokens": use.tokens - use.read - use.written,
        "cache_read_input_tokens": use.read,
        "cache_creation_input_tokens": use.written,
        "output_tokens": 20,
    }
    content: dict[str, Any] = {"type": "text", "text": "Done."}
    if turn is not None:
        call = call_of(turn)
        content = {"type": "tool_use", "id": call["id"], "name": call["name"], "input": call["args"]}
    facts = {"id": f"msg_{turn}", "type": "message", "role": "assistant", "model": body["model"], "usage": usage}
    return facts | {"content": [content], "stop_reason": "end_turn" if turn is None else "tool_use"}


# Rate limits: a server that bears 100 requests a second, and answers after 50 ms.


def open_ai(server: PromptrunServer, **settings: Any) -> Any:
    return ChatOpenAI(model=MODEL, api_key=server.api_key, base_url=server.base_url, **settings)


def in_rhythm() -> InMemoryRateLimiter:
    return InMemoryRateLimiter(requests_per_second=100, check_every_n_seconds=0.01, max_bucket_size=100)


def rate(calls: int = 2_000) -> None:
    contenders: dict[str, Any] = {
        "ChatPromptrun, InMemoryRateLimiter(100)": lambda server: models(
            server, max_retries=10, rate_limiter=in_rhythm()
        ),
        "ChatPromptrun, each call waits by itself": lambda server: models(server, max_retries=10),
        "ChatPromptrun, shared wait": lambda server: models(server, max_retries=10),
        "ChatPromptrun, AdaptiveRateLimiter": lambda server: models(
            server, max_retries=10, rate_limiter=AdaptiveRateLimiter()
        ),
        "ChatOpenAI, its own retries": lambda server: open_ai(server, max_retries=10),
        "ChatOpenAI, InMemoryRateLimiter(100)": lambda server: open_ai(
            server, max_retries=10, rate_limiter=in_rhythm()
        ),
    }
    ideal = (calls - 100) / 100
    print(f"ideal: {ideal:.2f} s; load of the machine: {os.getloadavg()[0]:.1f}")
    for name, make in contenders.items():
        limit = RateLimit(100, burst=100, retry_after=1.0)
        with PromptrunServer(rate_limit=limit, answer=lambda _: Fault(delay=0.05, reply=Reply("Hi"))) as server:
            alone = "by itself" in name
            with (
                patch("langchain_promptrun._http.transport.CallState._hold", lambda *_: False)
                if alone
                else nullcontext()
            ):
                seconds, waits, failed = asyncio.run(rate_run(make(server), calls))
        print(
            f"{name}: {seconds:.1f} s, {seconds / ideal:.2f} x the ideal, "
            f"refused {limit.refused} ({limit.refused / (calls + limit.refused):.1%}), "
            f"failed {failed}, longest wait {max(waits):.1f} s, {max(waits) / median(waits):.2f} x the median",
            flush=True,
        )


async def rate_run(model: Any, calls: int) -> tuple[float, list[float], int]:
    start = time.monotonic()
    waits: list[float] = []

    async def call(number: int) -> None:
        await model.ainvoke(f"Hello, number {number}!")
        waits.append(time.monotonic() - start)

    ended = await asyncio.gather(*map(call, range(calls)), return_exceptions=True)
    return time.monotonic() - start, waits, sum(isinstance(end, Exception) for end in ended)


# Deadlines: each phase in each style of a call.


@contextmanager
def full_backlog() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"


def styles(model: ChatPromptrun) -> dict[str, Any]:
    async def collected(stream: Any) -> list[Any]:
        return [item async for item in stream]

    async def events() -> Any:
        return await (await model.astream_events("Hi", version="v3")).output

    return {
        "invoke": lambda: model.invoke("Hi"),
        "ainvoke": lambda: asyncio.run(model.ainvoke("Hi")),
        "stream": lambda: list(model.stream("Hi")),
        "astream": lambda: asyncio.run(collected(model.astream("Hi"))),
        "events": lambda: model.stream_events("Hi", version="v3").output,
        "aevents": lambda: asyncio.run(events()),
    }


def deadlines(seconds: float = 1.0) -> None:
    phases = {
        "connecting": None,
        "head": Fault(delay=math.inf),
        "silence in a stream": Fault(reply=Reply("one two three"), after=2, pause=math.inf),
        "a stream that goes on": Reply("word " * 999, pace=0.02),
        "retries": Fault(status=503, headers={"retry-after": "0"}, delay=0.3, times=9),
    }
    for phase, item in phases.items():
        for style in styles(models(PromptrunServer())):
            if "stream" in phase and "invoke" in style:
                continue
            with PromptrunServer() as server, full_backlog() as nowhere:
                settings = {"base_url": nowhere} if item is None else {}
                server.queue(*([] if item is None else [item]))
                model = models(server, deadline=seconds, max_retries=9).model_copy(update=settings)
                start = time.monotonic()
                with suppress(TimeoutError):
                    styles(model)[style]()
                print(f"{phase}, {style}: {time.monotonic() - start:.3f} s")


if __name__ == "__main__":
    globals()[sys.argv[1]](*map(int, sys.argv[2:]))
