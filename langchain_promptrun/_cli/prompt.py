"""Show a managed prompt: its text goes to stdout, or its difference from a version, or changes as they come."""

from __future__ import annotations

import difflib
import io
import threading
import time
import uuid
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, cast

import httpx

from langchain_promptrun import PromptrunPrompt
from langchain_promptrun._cli.connection import connection, show
from langchain_promptrun._cli.main import CommandError, tell

if TYPE_CHECKING:
    import argparse

    from langchain_promptrun.prompts.model import ManagedPromptValue
    from langchain_promptrun.prompts.record import PromptRecord
    from langchain_promptrun.testing import PromptrunServer


def run_prompt(arguments: argparse.Namespace) -> None:
    values = {}
    for pair in arguments.var:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise CommandError(f"--var takes NAME=VALUE, not {pair!r}")
        values[name] = value
    with connection(arguments) as (fields, server):
        fields |= {"project_id": arguments.project, "tag": arguments.tag, "version": arguments.pin}
        if server is not None:
            fields["project_id"] = _demo(server, arguments)
            # a proxy of the environment could not reach this machine's loopback
            fields["http_async_client"] = httpx.AsyncClient(trust_env=False)
        updates = "auto" if arguments.watch else "poll"
        with PromptrunPrompt(**fields, updates=updates, missing="keep", partial_variables=values) as prompt:
            _show(prompt, arguments)


def _show(prompt: PromptrunPrompt, arguments: argparse.Namespace) -> None:
    value = cast("ManagedPromptValue", prompt.format_prompt())
    record: PromptRecord = value.promptrun_origin.record
    if unknown := [name for name in prompt.partial_variables if name not in record.variables]:
        known = ", ".join(record.variables) or "none"
        raise CommandError(f"--var: version {record.version} has no variable {', '.join(unknown)}; it has: {known}")
    if arguments.diff is not None:
        other = prompt.model_copy(update={"tag": None, "version": arguments.diff})
        show(_difference(other.pull(), record))
        return
    show(value.messages[0].text.removesuffix("\n") + "\n")
    _tell(record)
    if arguments.watch:
        latest = prompt.known_record or record  # a change may be pushed before the watching begins
        for old, new in chain([(record, latest)] if latest.differs(record) else [], prompt.watch()):
            show(_difference(old, new))
            _tell(new)


def _demo(server: PromptrunServer, arguments: argparse.Namespace) -> str:
    """Put a prompt of two versions into a stand-in server; one who watches sees a third come."""
    name, ident = arguments.project or "Demo", None
    with suppress(ValueError):
        ident = str(uuid.UUID(name))
    project = server.prompts.create(name, project_id=ident)
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


def _tell(record: PromptRecord) -> None:
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
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
