"""Ask a model one question: the answer goes to stdout, tokens, cost and time to stderr."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from time import perf_counter
from typing import TYPE_CHECKING, Any

import httpx
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from langchain_promptrun import ChatPromptrun
from langchain_promptrun._cli.connection import connection, show
from langchain_promptrun._cli.main import CommandError, tell

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator


def run_chat(arguments: argparse.Namespace) -> None:
    with ExitStack() as stack:
        fields, server = stack.enter_context(connection(arguments))
        if arguments.text == ["-"] and sys.stdin is None:
            raise CommandError("stdin is closed, so the text cannot be read from it")
        text = sys.stdin.read() if arguments.text == ["-"] else " ".join(arguments.text)
        if not text.strip():
            raise CommandError("there is nothing to ask: the text is empty")
        if server is not None:
            # a proxy of the environment could not reach this machine's loopback
            fields["http_client"] = stack.enter_context(httpx.Client(trust_env=False))
        instructions = [SystemMessage(arguments.system)] if arguments.system else []
        model = ChatPromptrun(model=arguments.model, temperature=arguments.temperature, **fields)
        _ask(stack.enter_context(model), [*instructions, HumanMessage(text)], stream=not arguments.no_stream)


def _ask(model: ChatPromptrun, messages: list[BaseMessage], *, stream: bool) -> None:
    start = perf_counter()
    answer: Iterable[AIMessage] = model.stream(messages) if stream else [model.invoke(messages)]
    first, usage = None, None
    metadata: dict[str, Any] = {}
    with _screen() as put:
        for part in answer:
            reasoning = part.additional_kwargs.get("reasoning_content", "")
            if first is None and (reasoning or part.text):
                first = perf_counter() - start
            put(reasoning, part.text)
            usage = part.usage_metadata or usage
            metadata |= part.response_metadata
    cost = metadata.get("cost")
    facts = {
        "model": metadata.get("model_name", model.model),
        "tokens": usage and f"{usage['input_tokens']} in, {usage['output_tokens']} out",
        "cost": cost is not None and f"{Decimal(repr(cost)):f}",  # without an exponent
        "time to first token" if stream else "time to answer": first and f"{first:.2f} s",
    }
    tell("".join(f"{name}: {value}\n" for name, value in facts.items() if value))


@contextmanager
def _screen() -> Iterator[Callable[[str, str], None]]:
    """Give a function that prints reasoning to a terminal on stderr, and text to stdout, at once."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    has_colours = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    dim, plain = ("\x1b[2m", "\x1b[0m") if has_colours else ("", "")
    open_reasoning = shown = ""

    def put(reasoning: str, text: str) -> None:
        nonlocal open_reasoning, shown
        if reasoning and is_terminal:
            open_reasoning = reasoning
            tell(f"{dim}{reasoning}{plain}")
        if text:
            tell("\n" if open_reasoning else "")
            open_reasoning, shown = "", text
            show(text)

    try:
        yield put
    finally:
        tell("\n" if open_reasoning else "")
        if shown and not shown.endswith("\n"):
            show("\n")
