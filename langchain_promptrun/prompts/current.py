"""A managed prompt that stays current: what is fetched at the first call, shared, watched, and let go of."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

from pydantic import PrivateAttr
from typing_extensions import override

from langchain_promptrun._config.copying import check_picklable, new_transport
from langchain_promptrun.prompts import refresh as _prompt_refresh
from langchain_promptrun.prompts.family import Hold, Lease
from langchain_promptrun.prompts.fetch import Source
from langchain_promptrun.prompts.fields import PromptFields
from langchain_promptrun.prompts.flight import Signal
from langchain_promptrun.prompts.follower import Follower
from langchain_promptrun.prompts.functions import Functions
from langchain_promptrun.prompts.record import FALLBACK_VERSION, PromptChange, PromptProject, PromptRecord
from langchain_promptrun.prompts.refresh import Freshness
from langchain_promptrun.prompts.storage import Shelf


class CurrentPrompt(PromptFields):
    """The fields of a prompt, and the record that they stand for."""

    _lease: Hold = PrivateAttr()

    @property
    def known_record(self) -> PromptRecord | None:
        """The record that was fetched last. Asks nobody."""
        lease = self.family.find(self.identity) if (hold := self._state.get("_lease")) is None else hold.lease
        return None if lease is None else lease.follower.record

    def pull(self) -> PromptRecord:
        """Return the current record: version, version message, time of the update, project, model, temperature.

        It is fetched as for a call: at most once in `refresh` seconds.

        Raises:
            PromptrunError: There is no such prompt, or it cannot be had.
        """
        hold = self._hold()  # kept until the answer is there
        return hold.lease.follower.get()

    async def apull(self) -> PromptRecord:
        """Do what `pull` does, in async code.

        Raises:
            PromptrunError: There is no such prompt, or it cannot be had.
        """
        hold = self._hold()
        return await hold.lease.follower.aget()

    # Changes.

    def watch(self, interval: float | None = None) -> Iterator[PromptChange]:
        """Iterate over changes, as `(old, new)`, until `close` is called; for a pinned version there are none.

        Args:
            interval: Seconds between two requests, 5 at least and 30 days at most. Default 5. `refresh` does not count
                here.

        Raises:
            ValueError: The interval is too short or too long.
            PromptrunError: There is no record to begin with. Later failures are logged, and asked again after.
        """
        hold = self._hold()
        return self._watch(_interval(interval), hold, hold.stopped)

    def _watch(self, interval: float, hold: Hold, stopped: Signal) -> Iterator[PromptChange]:
        # the frame holds the prompt, whose end would be the end of watching
        yield from hold.lease.follower.watch(interval, stopped)

    def awatch(self, interval: float | None = None) -> AsyncIterator[PromptChange]:
        """Do what `watch` does, in async code.

        Args:
            interval: Seconds between two requests, 5 at least and 30 days at most. Default 5. `refresh` does not count
                here.

        Raises:
            ValueError: The interval is too short or too long.
            PromptrunError: There is no record to begin with. Later failures are logged, and asked again after.
        """
        hold = self._hold()
        return self._awatch(_interval(interval), hold, hold.stopped)

    async def _awatch(self, interval: float, hold: Hold, stopped: Signal) -> AsyncIterator[PromptChange]:
        async with aclosing(hold.lease.follower.awatch(interval, stopped)) as changes:
            async for change in changes:
                yield change

    # The connection.

    @override
    def close(self) -> None:
        """Let go of the shared connections, and end all watching and refreshing. The next call starts again."""
        if (hold := self._state.get("_lease")) is not None:
            hold.stop()
            hold.lease.transport.close()
        super().close()

    @override
    async def aclose(self) -> None:
        """Do what `close` does, in async code."""
        if (hold := self._state.get("_lease")) is not None:
            hold.stop()
            await hold.lease.transport.aclose()
        await super().aclose()

    # What is held, and by whom.

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field; watching what was fetched with the old one ends."""
        hold = self._state.get("_lease")
        super().__setattr__(name, value)
        if hold is not None and name in type(self).model_fields:
            hold.stop()
            self.__pydantic_private__ = {"_transport": None}

    def __getstate__(self) -> dict[Any, Any]:
        """Keep the fields, and say which of them cannot be kept."""
        for name, value in self.partial_variables.items():
            check_picklable(type(self).__name__, f"partial_variables[{name!r}]", value)
        return super().__getstate__()

    @property
    def _state(self) -> dict[str, Any]:
        """Private attributes, which may not be there yet."""
        return self.__pydantic_private__ or {}

    def _hold(self) -> Hold:
        """The hold on what keeps the prompt current; taken at the first call, whichever thread comes first."""
        hold: Hold | None = self._state.get("_lease")
        if hold is None:
            hold = Hold(self.family.lease(self.identity, self._new_lease))
            hold = self._state.setdefault("_lease", hold)
        return hold

    def _new_lease(self) -> Lease:
        query, transport, functions = self.selector, new_transport(self), Functions()
        follower = Follower(
            Source(self, transport, query, self.label, functions),
            Freshness(self.refresh if self.version is None else None, time.monotonic),
            shelf=None if self.cache_dir is None else Shelf(self.cache_dir, self.base_url, query),
            fallback=self._fallback_record(),
            on_change=None if self.on_change is None else functions.weak(self.on_change),
        )
        return Lease(follower, transport, functions)

    def _fallback_record(self) -> PromptRecord | None:
        if self.fallback is None:
            return None
        project = PromptProject(id=self.project_id)
        return PromptRecord(prompt=self.fallback, version=FALLBACK_VERSION, tag=self.tag, project=project)


def _interval(seconds: float | None) -> float:
    shortest, longest = _prompt_refresh.SHORTEST_POLL, _prompt_refresh.LONGEST_POLL
    if seconds is None:
        return shortest
    if shortest <= seconds <= longest:  # false for nan, too
        return seconds
    raise ValueError(
        f"interval must be {shortest:g} s at least, or Promptrun limits the rate, and {longest / 86_400:g} days at "
        f"most; it is {seconds!r}."
    )
