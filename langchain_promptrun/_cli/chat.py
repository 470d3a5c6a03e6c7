"""The subcommand ``chat``: one question, the answer on stdout as it comes, and what it cost on stderr.

Owns what the user sees of a conversation. Knows nothing of HTTP: it asks ``ChatPromptrun``, as any program does.
"""

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
from pydantic import ValidationError

from langchain_promptrun import ChatPromptrun
from langchain_promptrun._cli.main import CommandError
from langchain_promptrun.errors import PromptrunError
from langchain_promptrun.testing import PromptrunServer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

NO_KEY = (
    "no API key: set PROMPTRUN_API_KEY to ask Promptrun (keys: https://app.promptrun.ai), "
    "or add --offline to ask a stand-in server on this machine"
)
DIM, PLAIN = "\x1b[2m", "\x1b[0m"


def run(arguments: argparse.Namespace) -> None:
    """Ask, and print the answer.

    Args:
        arguments: As ``_cli`` declares them for ``chat``.

    Raises:
        CommandError: The question could not be asked or the answer did not come.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal's encoding may lack what the model writes
    with plain_errors():
        messages = _messages(arguments)
        with connected(arguments) as model:
            _ask(model, messages, stream=not arguments.no_stream)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn the errors that a user can do something about into one line each."""
    try:
        yield
    except BrokenPipeError:  # nobody reads on, which is no error
        raise
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise CommandError(_one_line("; ".join(faults))) from error
    except (PromptrunError, ValueError, OSError) as error:
        raise CommandError(_one_line(str(error)) or type(error).__name__) from error


def _one_line(text: str) -> str:
    """Join the lines of a message."""
    return " ".join(text.split())


def _messages(arguments: argparse.Namespace) -> list[BaseMessage]:
    text = sys.stdin.read() if arguments.text == "-" else arguments.text
    if not text.strip():
        raise CommandError("there is nothing to ask: the text is empty")
    system = [SystemMessage(arguments.system)] if arguments.system else []
    return [*system, HumanMessage(text)]


@contextmanager
def connected(arguments: argparse.Namespace) -> Iterator[ChatPromptrun]:
    """Give the model that the arguments describe, at Promptrun or at a stand-in server that lives as long.

    Args:
        arguments: Those of ``add_server_arguments``, and ``model`` and ``temperature``.

    Raises:
        CommandError: There is no key and ``--offline`` was not given.
    """
    fields: dict[str, Any] = {
        name: value for name in ("model", "temperature", "base_url") if (value := getattr(arguments, name)) is not None
    }
    if arguments.offline:
        # A proxy of the environment could not reach this machine's loopback.
        with PromptrunServer() as server, httpx.Client(trust_env=False) as client:
            sys.stderr.write(f"offline: a stand-in server at {server.base_url} answers\n")
            yield ChatPromptrun(base_url=server.base_url, api_key=server.api_key, http_client=client, **fields)
    elif os.environ.get("PROMPTRUN_API_KEY"):
        with ChatPromptrun(**fields) as model:
            yield model
    else:
        raise CommandError(NO_KEY)


def _ask(model: ChatPromptrun, messages: list[BaseMessage], *, stream: bool) -> None:
    """Print the answer as it comes, then what is known about it."""
    start = perf_counter()
    answer: Iterable[AIMessage] = model.stream(messages) if stream else [model.invoke(messages)]
    screen, first, usage = _Screen(), None, None
    metadata: dict[str, Any] = {}
    try:
        for part in answer:
            reasoning = part.additional_kwargs.get("reasoning_content", "")
            if first is None and (reasoning or part.text):
                first = perf_counter() - start
            screen.think(reasoning)
            screen.say(part.text)
            usage = part.usage_metadata or usage
            metadata |= part.response_metadata
    finally:
        screen.end()
    facts = {
        "model": metadata.get("model_name", model.model),
        "tokens": usage and f"{usage['input_tokens']} in, {usage['output_tokens']} out",
        "cost": _plain_number(metadata.get("cost")),
        "time to first token" if stream else "time to answer": first and f"{first:.2f} s",
    }
    sys.stderr.write("".join(f"{name}: {value}\n" for name, value in facts.items() if value))


def _plain_number(value: float | None) -> str | None:
    """Write a price out in digits: 0.000012 rather than 1.2e-05."""
    return None if value is None else f"{Decimal(repr(value)):f}"


class _Screen:
    """The answer goes to stdout at once; reasoning to stderr, dimmed, where somebody is looking."""

    def __init__(self) -> None:
        self._watched = sys.stderr.isatty()
        self._thinking = False
        self._line_open = False

    def think(self, text: str) -> None:
        if text and self._watched:
            sys.stderr.write(f"{DIM}{text}{PLAIN}")
            sys.stderr.flush()
            self._thinking = True

    def say(self, text: str) -> None:
        if not text:
            return
        if self._thinking:
            sys.stderr.write("\n")
            self._thinking = False
        self._line_open = not text.endswith("\n")
        sys.stdout.write(text)
        sys.stdout.flush()

    def end(self) -> None:
        """Leave the terminal at the start of a line."""
        if self._thinking:
            sys.stderr.write("\n")
        if self._line_open:
            sys.stdout.write("\n")
            sys.stdout.flush()
