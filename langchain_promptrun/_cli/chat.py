"""Ask a model one question: the answer goes to stdout, tokens, cost and time to stderr."""

from __future__ import annotations

import io
import os
import sys
from contextlib import contextmanager
from decimal import Decimal
from time import perf_counter
from typing import TYPE_CHECKING, Any

import httpx
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from langchain_promptrun import ChatPromptrun
from langchain_promptrun._cli.command import NO_KEY, CommandError, tell
from langchain_promptrun._cli.errors import plain_errors
from langchain_promptrun.testing import PromptrunServer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


def run_chat(arguments: argparse.Namespace) -> None:
    """Ask the question of the command line and print the answer."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal's encoding may lack what the model writes
    with plain_errors():
        if arguments.text == ["-"] and sys.stdin is None:
            raise CommandError("stdin is closed, so the text cannot be read from it")
        text = sys.stdin.read() if arguments.text == ["-"] else " ".join(arguments.text)
        if not text.strip():
            raise CommandError("there is nothing to ask: the text is empty")
        instructions = [SystemMessage(arguments.system)] if arguments.system else []
        with _connect(arguments) as model:
            _ask(model, [*instructions, HumanMessage(text)], stream=not arguments.no_stream)


@contextmanager
def _connect(arguments: argparse.Namespace) -> Iterator[ChatPromptrun]:
    fields: dict[str, Any] = {name: getattr(arguments, name) for name in ("model", "temperature", "base_url")}
    if arguments.offline:
        # A proxy of the environment could not reach this machine's loopback.
        with PromptrunServer() as server, httpx.Client(trust_env=False) as client:
            tell(f"offline: a stand-in server at {server.base_url} answers\n")
            fields |= {"base_url": server.base_url, "api_key": server.api_key, "http_client": client}
            yield ChatPromptrun(**fields)
    elif arguments.base_url or os.environ.get("PROMPTRUN_API_KEY") or os.environ.get("PROMPTRUN_BASE_URL"):
        with ChatPromptrun(**fields) as model:
            yield model
    else:
        raise CommandError(NO_KEY)


def _ask(model: ChatPromptrun, messages: list[BaseMessage], *, stream: bool) -> None:
    start = perf_counter()
    answer: Iterable[AIMessage] = model.stream(messages) if stream else [model.invoke(messages)]
    screen, first, usage = _Screen(), None, None
    metadata: dict[str, Any] = {}
    try:
        for part in answer:
            reasoning = part.additional_kwargs.get("reasoning_content", "")
            if first is None and (reasoning or part.text):
                first = perf_counter() - start
            screen.print_reasoning(reasoning)
            screen.print_text(part.text)
            usage = part.usage_metadata or usage
            metadata |= part.response_metadata
    finally:
        screen.end_line()
    cost = metadata.get("cost")
    facts = {
        "model": metadata.get("model_name", model.model),
        "tokens": usage and f"{usage['input_tokens']} in, {usage['output_tokens']} out",
        "cost": cost is not None and f"{Decimal(repr(cost)):f}",  # without an exponent
        "time to first token" if stream else "time to answer": first and f"{first:.2f} s",
    }
    tell("".join(f"{name}: {value}\n" for name, value in facts.items() if value))


class _Screen:
    """Print text to stdout at once, and reasoning to a terminal on stderr."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr is not None and sys.stderr.isatty()
        colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._dim, self._plain = (_DIM, _PLAIN) if colour else ("", "")
        self._in_reasoning = self._in_line = False

    def print_reasoning(self, text: str) -> None:
        if text and self._is_terminal:
            tell(f"{self._dim}{text}{self._plain}")
            self._in_reasoning = True

    def print_text(self, text: str) -> None:
        if text:
            self._end_reasoning()
            self._in_line = not text.endswith("\n")
            sys.stdout.write(text)
            sys.stdout.flush()

    def end_line(self) -> None:
        self._end_reasoning()
        if self._in_line:
            self.print_text("\n")

    def _end_reasoning(self) -> None:
        if self._in_reasoning:
            tell("\n")
            self._in_reasoning = False
