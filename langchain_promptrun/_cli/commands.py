"""Run the subcommands: ask a model, show a managed prompt, record answers and serve them again."""

from __future__ import annotations

import difflib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from decimal import Decimal
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any, cast

import httpx
from pydantic import ValidationError

from langchain_promptrun._cli.main import CommandError, show, tell
from langchain_promptrun.chat_models import ChatPromptrun
from langchain_promptrun.errors import PromptrunError
from langchain_promptrun.prompts import PromptrunPrompt
from langchain_promptrun.testing import PromptrunServer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from langchain_core.messages import AIMessage

    from langchain_promptrun.prompts.prompt import ManagedPromptValue
    from langchain_promptrun.prompts.record import PromptRecord


@contextmanager
def _connection(arguments: argparse.Namespace) -> Iterator[tuple[dict[str, Any], PromptrunServer | None]]:
    """Give the fields that say where the server is, and with `--offline` a stand-in that lives as long."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal's encoding may lack what is to be printed
    try:
        if arguments.offline:
            # a proxy of the environment could not reach this machine's loopback
            with PromptrunServer() as server, httpx.Client(trust_env=False) as client:
                tell(f"offline: a stand-in server at {server.base_url} answers\n")
                clients = {"http_client": client, "http_async_client": httpx.AsyncClient(trust_env=False)}
                yield {"base_url": server.base_url, "api_key": server.api_key, **clients}, server
        elif arguments.base_url or os.environ.get("PROMPTRUN_API_KEY") or os.environ.get("PROMPTRUN_BASE_URL"):
            yield {"base_url": arguments.base_url}, None
        else:
            raise CommandError(
                "no API key: set PROMPTRUN_API_KEY to ask Promptrun (keys: https://app.promptrun.ai), "
                "or add --offline to ask a stand-in server on this machine"
            )
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise CommandError("; ".join(faults)) from error
    except PromptrunError as error:
        raise CommandError(str(error)) from error


def _tell_facts(facts: dict[str, Any]) -> None:
    tell("".join(f"{name}: {fact}\n" for name, fact in facts.items() if fact not in {None, ""}))


def run_chat(arguments: argparse.Namespace) -> None:
    """Print an answer to stdout; tokens, cost and time go to stderr."""
    with _connection(arguments) as (fields, _):
        if arguments.text == ["-"] and sys.stdin is None:
            raise CommandError("stdin is closed, so the text cannot be read from it")
        text = sys.stdin.read() if arguments.text == ["-"] else " ".join(arguments.text)
        if not text.strip():
            raise CommandError("there is nothing to ask: the text is empty")
        messages = [("system", arguments.system)] if arguments.system else []
        messages.append(("human", text))
        with ChatPromptrun(model=arguments.model, temperature=arguments.temperature, **fields) as model:
            parts = map(model.invoke, [messages]) if arguments.no_stream else model.stream(messages)
            answer, first = _print(parts)
        metadata, usage = answer.response_metadata, answer.usage_metadata
        cost = metadata.get("cost")
        facts = {
            "model": metadata.get("model_name", model.model),
            "tokens": usage and f"{usage['input_tokens']} in, {usage['output_tokens']} out",
            "cost": None if cost is None else f"{Decimal(repr(cost)):f}",  # without an exponent
            "time to answer" if arguments.no_stream else "time to first token": first and f"{first:.2f} s",
        }
        _tell_facts(facts)


def _print(parts: Iterable[AIMessage]) -> tuple[AIMessage, float | None]:
    """Print reasoning to a terminal on stderr, and text to stdout; return the answer, and the seconds to its start."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    has_colours = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    start, first, whole = time.perf_counter(), None, []
    open_reasoning = shown = ""
    try:
        for part in parts:
            whole.append(part)
            reasoning = part.additional_kwargs.get("reasoning_content", "")
            if first is None and (reasoning or part.text):
                first = time.perf_counter() - start
            if reasoning and is_terminal:
                open_reasoning = reasoning
                tell(f"\x1b[2m{reasoning}\x1b[0m" if has_colours else reasoning)
            if part.text:
                tell("\n" if open_reasoning else "")
                open_reasoning, shown = "", part.text
                show(shown)
    finally:
        tell("\n" if open_reasoning else "")
        if shown and not shown.endswith("\n"):
            show("\n")
    return reduce(add, whole), first


def run_prompt(arguments: argparse.Namespace) -> None:
    """Print a prompt's text to stdout, or its difference from a version, or changes as they come."""
    values = {}
    for pair in arguments.var:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise CommandError(f"--var takes NAME=VALUE, not {pair!r}")
        values[name] = value
    with _connection(arguments) as (fields, server):
        fields.pop("http_client", None)  # over which no change can be pushed
        fields["project_id"] = _demo(server, arguments) if server else arguments.project
        fields |= {"tag": arguments.tag, "version": arguments.pin, "updates": "auto" if arguments.watch else "poll"}
        with PromptrunPrompt(**fields, missing="keep", partial_variables=values) as prompt:
            given = cast("ManagedPromptValue", prompt.format_prompt())
            _, record = given.promptrun_origin
            if unknown := [name for name in values if name not in record.variables]:
                known = ", ".join(record.variables) or "none"
                raise CommandError(
                    f"--var: version {record.version} has no variable {', '.join(unknown)}; it has: {known}"
                )
            if arguments.diff is not None:
                other = prompt.model_copy(update={"tag": None, "version": arguments.diff})
                show(_difference(other.pull(), record))
                return
            show(given.messages[0].text.removesuffix("\n") + "\n")
            _tell_record(record)
            if arguments.watch:
                for old, new in prompt.watch(since=record):
                    show(_difference(old, new))
                    _tell_record(new)


def _demo(server: PromptrunServer, arguments: argparse.Namespace) -> str:
    """Put a prompt of two versions into a stand-in server; one who watches sees a third come."""
    project = server.prompts.create("Demo")
    tags = [arguments.tag] if arguments.tag else []
    for text in ("Answer in one sentence.", "Answer in one sentence, in {{language}}."):
        project.publish(text, tags=tags)

    def publish_next() -> None:
        server.wait_for_requests(1, timeout=60)
        time.sleep(1)
        project.publish("Answer in one short sentence, in {{language}}, for {{ reader.name }}.", tags=tags)

    if arguments.watch:
        threading.Thread(target=publish_next, daemon=True).start()
    return project.id


def _tell_record(record: PromptRecord) -> None:
    facts = {
        "version": record.version,
        "tag": record.tag,
        "updated": record.updated_at,
        "message": record.version_message,
        "model": record.model and record.model.model,
        "temperature": record.temperature,
    }
    _tell_facts(facts)


def _difference(old: PromptRecord, new: PromptRecord) -> str:
    # lines as diff counts them: a carriage return is part of its line
    before, after = (io.StringIO(record.prompt, newline="\n").readlines() for record in (old, new))
    lines = difflib.unified_diff(before, after, f"version {old.version}", f"version {new.version}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def run_record(arguments: argparse.Namespace) -> None:
    """Run a command against a server that forwards its requests and records the answers; end with its exit status."""
    if not arguments.command:
        raise CommandError("which command? Write it after `--`, such as: record --out FILE -- pytest tests")
    with PromptrunServer.record(arguments.out, keep=arguments.keep, redact_emails=arguments.redact_emails) as server:
        tell(f"recording to {arguments.out} at {server.base_url}\n")
        environment = os.environ | {"PROMPTRUN_BASE_URL": server.base_url}
        done = subprocess.run(arguments.command, env=environment, check=False)
    if server.missing:
        tell(f"error: {server.missing[0]}\n")
    # a shell reports a signal as 128 and its number
    status = done.returncode if done.returncode >= 0 else 128 - done.returncode
    raise SystemExit(status or bool(server.missing))


def run_replay(arguments: argparse.Namespace) -> None:
    """Serve recorded answers to programs in any language, at the URL that is printed, until Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = {name: getattr(arguments, name) for name in ("speed", "port", "redact_emails")}
    with PromptrunServer.replay(arguments.file, **options) as server:
        show(f"{server.base_url}\n")
        try:
            while True:
                time.sleep(3_600)
        finally:
            unused, missing = len(server.unused), len(server.missing)
            tell(f"not asked for: {unused} recorded answers; not recorded: {missing} requests\n")
