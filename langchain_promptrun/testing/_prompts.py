"""Managed prompts in memory: what the dashboard edits and GET /prompt reads.

The shapes are those of Promptrun's page "Prompt API" and of the types of Promptrun's Node SDK.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from langchain_promptrun.testing._checks import RefusedError
from langchain_promptrun.testing._items import Fault

_START = datetime(2025, 7, 21, 4, 17, 39, 294_000, tzinfo=UTC)


class PromptProject:
    """A prompt in all its versions, and the tags that point to them; `ManagedPrompts.create` makes it."""

    def __init__(self, name: str, project_id: str, changed: Callable[[], None] = lambda: None) -> None:
        self.name = name
        self.id = project_id
        self._changed = changed
        self._versions: dict[int, dict[str, Any]] = {}
        self._tags: dict[str, int] = {}
        self._changes = 0

    @property
    def newest(self) -> int:
        """The number of the newest version; 0 before the first."""
        return max(self._versions, default=0)

    def publish(self, prompt: str, *, message: str = "", tags: Iterable[str] = (), **more: Any) -> int:
        """Add a version, move tags to it and return its number, from 1.

        Args:
            prompt: The text, with `{{name}}` for variables.
            message: What changed (`versionMessage`).
            tags: The tags to move to this version. `latest` is the newest, unless it was moved by hand.
            **more: Further keys of the record, such as `temperature=0.2` or `model="openai/gpt-4o"`, or the text that
                the record tells as its version: `version="v2"`.
        """
        version, now = self.newest + 1, self._now()
        ident = str(uuid.uuid5(uuid.UUID(self.id), str(version)))
        record = {"id": ident, "createdAt": now, "updatedAt": now, "prompt": prompt, "version": version}
        self._versions[version] = {**record, "versionMessage": message, **_wire_model(more)}
        self._tags |= dict.fromkeys(tags, version)
        self._changed()
        return version

    def edit(self, version: int, /, **changes: Any) -> None:
        """Change keys of a version's record; raises KeyError for an unknown version."""
        # replaced, not changed: another thread may be reading
        self._versions[version] = {**self._versions[version], **_wire_model(changes), "updatedAt": self._now()}
        self._changed()

    def tag(self, name: str, version: int) -> None:
        """Point a tag to a version; raises KeyError for an unknown version."""
        self.edit(version)
        self._tags[name] = version
        self._changed()

    def untag(self, name: str) -> None:
        """Take a tag away; raises KeyError for an unknown tag."""
        del self._tags[name]
        self._changed()

    def record(self, *, version: int | str | None = None, tag: str | None = None) -> dict[str, Any]:
        """Return the record of a version, of a tag, or else the newest."""
        project = {"id": self.id, "name": self.name}
        if tag is not None:
            number = self._tags.get(tag, self.newest if tag == "latest" else 0)
            if number in self._versions:
                return {**self._versions[number], "tag": tag, "project": project}
            raise RefusedError(HTTPStatus.NOT_FOUND, f"The project has no tag `{tag}`.")
        for record in reversed(tuple(self._versions.values())):
            if version is None or str(record["version"]) == str(version):
                return {**record, "project": project}
        raise RefusedError(HTTPStatus.NOT_FOUND, f"The project has no version {version or 'at all'}.")

    def _now(self) -> str:
        self._changes += 1
        moment = _START + timedelta(seconds=self._changes)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _wire_model(record: Mapping[str, Any]) -> dict[str, Any]:
    """Give a model that is an id the shape that Promptrun's SDK knows."""
    model = record.get("model")
    if not isinstance(model, str):
        return dict(record)
    provider, _, name = model.partition("/")
    return {**record, "model": {"name": name or provider, "provider": provider, "model": model, "icon": provider}}


class ManagedPrompts:
    """The dashboard of the stand-in server, `PromptrunServer.prompts`.

    Attributes:
        pushes: Whether the server has GET /prompt/stream; False: that answers 404.
        keep_alive: Seconds without a change after which that stream sends a comment.

    Example:
        >>> prompts = ManagedPrompts()
        >>> project = prompts.create("Essays", project_id="d0d52c6e-85ba-4025-a84c-3c99834fe2ac")
        >>> project.publish("Write an essay.", model="openai/gpt-4o", temperature=0.5)
        1
        >>> prompts.find({"projectId": project.id})["model"]["model"]
        'openai/gpt-4o'
    """

    def __init__(self) -> None:
        self._projects: dict[str, PromptProject] = {}
        self.faults: deque[Fault] = deque()
        self.pushes = True
        self.keep_alive = 15.0
        self._followers: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def create(self, name: str, *, project_id: str | None = None) -> PromptProject:
        """Make a project without versions. Its id, a UUID, is made of its name unless it is given."""
        made_up = uuid.uuid5(uuid.NAMESPACE_URL, f"https://promptrun.example/{name}")
        project = PromptProject(name, str(uuid.UUID(project_id) if project_id else made_up), self._notify)
        self._projects[project.id] = project
        return project

    def delete(self, project: PromptProject) -> None:
        """Remove a project."""
        self._projects.pop(project.id, None)
        self._notify()

    def _notify(self) -> None:
        for loop, event in tuple(self._followers):
            with suppress(RuntimeError):  # the server was closed
                loop.call_soon_threadsafe(event.set)

    async def follow(self, query: Mapping[str, str]) -> AsyncGenerator[dict[str, Any] | None]:
        """Yield the record at once and at each change; None where none came for `keep_alive` seconds."""
        event, last = asyncio.Event(), None
        follower = asyncio.get_running_loop(), event
        self._followers.add(follower)
        try:
            with suppress(RefusedError):  # project, version or tag are gone
                while True:
                    event.clear()
                    if (record := self.find(query)) != last:
                        yield record
                        last = record
                    try:
                        await asyncio.wait_for(event.wait(), self.keep_alive)
                    except TimeoutError:
                        yield None
        finally:
            self._followers.discard(follower)

    def queue(self, *faults: Fault) -> None:
        """Have the next requests for a prompt meet these faults, in order."""
        for fault in faults:
            self.faults.extend([fault] * fault.times)

    def find(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the record that a query of GET /prompt asks for; raises RefusedError."""
        if {"version", "tag"} <= query.keys():
            raise RefusedError(HTTPStatus.BAD_REQUEST, "You must provide either `version` or `tag`, but not both.")
        try:
            project = self._projects.get(str(uuid.UUID(query.get("projectId", ""))))
        except ValueError:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "You must provide `projectId`, a UUID.") from None
        if project is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "There is no such project.")
        return project.record(version=query.get("version"), tag=query.get("tag"))
