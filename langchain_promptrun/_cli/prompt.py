"""Show a managed prompt: its text goes to stdout, or its difference from a version, or changes as they come."""

from __future__ import annotations

import difflib
import io
import os
import sys
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx

from langchain_promptrun import PromptChange, PromptrunPrompt
from langchain_promptrun._cli.command import NO_KEY, CommandError, tell
from langchain_promptrun._cli.errors import plain_errors
from langchain_promptrun.testing import PromptrunServer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from langchain_promptrun.prompts.record import PromptRecord

_EXAMPLES = ("Answer in one sentence.", "Answer in one sentence, in {{language}}.")
_NEXT_EXAMPLE = "Answer in one short sentence, in {{language}}, for {{ reader.name }}."
_SECONDS_TO_NEXT_EXAMPLE = 1.0

_NO_NEWLINE = "\\ No newline at end of file"


def run_prompt(arguments: argparse.Namespace) -> None:
    """Show the prompt of the command line."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal's encoding may lack what the text holds
    with plain_errors(), _connect(arguments) as prompt:
        record = prompt.pull()
        _check_names(prompt.partial_variables, record)
        if arguments.diff is not None:
            other = prompt.model_copy(update={"tag": None, "version": _version(arguments.diff)})
            _write(_difference(other.pull(), record))
            return
        (message,) = prompt.format_messages()
        _write(message.text.removesuffix("\n") + "\n")
        _tell(record)
        if arguments.watch:
            for old, new in _changes(prompt, record):
                _write(_difference(old, new))
                _tell(new)


def _changes(prompt: PromptrunPrompt, shown: PromptRecord) -> Iterator[PromptChange]:
    """Yield changes since a record was shown; one may have been pushed before the watching began."""
    latest = prompt.known_record or shown
    if latest.differs(shown):
        yield PromptChange(shown, latest)
    yield from prompt.watch()


@contextmanager
def _connect(arguments: argparse.Namespace) -> Iterator[PromptrunPrompt]:
    """Give the prompt of the command line, at Promptrun or at a stand-in server that lives as long."""
    fields: dict[str, Any] = {
        "project_id": arguments.project,
        "tag": arguments.tag,
        "version": None if arguments.pin is None else _version(arguments.pin),
        "base_url": arguments.base_url,
        "partial_variables": _values(arguments.var),
        "missing": "keep",
        "updates": "auto" if arguments.watch else "poll",
    }
    if arguments.offline:
        with PromptrunServer() as server:
            tell(f"offline: a stand-in server at {server.base_url} answers\n")
            fields |= {"project_id": _demo(server, arguments), "base_url": server.base_url, "api_key": server.api_key}
            # a proxy of the environment could not reach this machine's loopback
            with PromptrunPrompt(**fields, http_async_client=httpx.AsyncClient(trust_env=False)) as prompt:
                yield prompt
    elif os.environ.get("PROMPTRUN_API_KEY"):
        with PromptrunPrompt(**fields) as prompt:
            yield prompt
    else:
        raise CommandError(NO_KEY)


def _demo(server: PromptrunServer, arguments: argparse.Namespace) -> str:
    """Put a prompt of two versions into a stand-in server; one who watches sees a third come."""
    name, ident = arguments.project or "Demo", None
    with suppress(ValueError):
        ident = str(uuid.UUID(name))
    project = server.prompts.create(name, project_id=ident)
    tags = [arguments.tag] if arguments.tag else []
    for text in _EXAMPLES:
        project.publish(text, tags=tags)

    def publish_next() -> None:
        server.wait_for_requests(1, timeout=60)
        time.sleep(_SECONDS_TO_NEXT_EXAMPLE)
        project.publish(_NEXT_EXAMPLE, tags=tags)

    if arguments.watch:
        threading.Thread(target=publish_next, daemon=True).start()
    return project.id


def _version(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _values(pairs: list[str]) -> Mapping[str, str]:
    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise CommandError(f"--var takes NAME=VALUE, not {pair!r}")
        values[name] = value
    return values


def _check_names(values: Mapping[str, str], record: PromptRecord) -> None:
    """Refuse a value that would go nowhere: its name is misspelt."""
    if unknown := [name for name in values if name not in record.variables]:
        known = ", ".join(record.variables) or "none"
        raise CommandError(f"--var: version {record.version} has no variable {', '.join(unknown)}; it has: {known}")


def _tell(record: PromptRecord) -> None:
    """Say on stderr what is known of a version."""
    facts = {
        "version": record.version,
        "tag": record.tag,
        "updated": record.updated_at,
        "message": record.version_message,
        "model": record.model and record.model.model,
        "temperature": record.temperature,
    }
    tell("".join(f"{name}: {fact}\n" for name, fact in facts.items() if fact not in {None, ""}))


def _difference(old: PromptRecord, new: PromptRecord) -> str:
    # lines as diff counts them: a carriage return is part of its line
    before, after = (io.StringIO(record.prompt, newline="\n").readlines() for record in (old, new))
    lines = difflib.unified_diff(before, after, f"version {old.version}", f"version {new.version}")
    return "".join(line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}\n" for line in lines)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
