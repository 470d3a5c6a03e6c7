"""A managed prompt that stays current: what is fetched at the first call, shared, watched, and let go of."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

from pydantic import PrivateAttr
from typing_extensions import override

from langchain_promptrun import _prompt_refresh
from langchain_promptrun._prompt_disk import Shelf
from langchain_promptrun._prompt_fields import PromptFields
from langchain_promptrun._prompt_follower import Follower, Lease
from langchain_promptrun._prompt_record import FALLBACK_VERSION, PromptChange, PromptProject, PromptRecord
from langchain_promptrun._prompt_refresh import Freshness
from langchain_promptrun._prompt_source import Source


class CurrentPrompt(PromptFields):
    """The fields of a prompt, and the record that they stand for."""

    _lease: Lease = PrivateAttr()

    @property
    def known_record(self) -> PromptRecord | None:
        """The record that was fetched last. Asks nobody."""
        return None if (lease := self._state.get("_lease")) is None else lease.follower.record

    def pull(self) -> PromptRecord:
        """Return the current record: version, version message, time of the update, project, model, temperature.

        It is fetched as for a call: at most once in `refresh` seconds.

        Raises:
            PromptrunError: There is no such prompt, or it cannot be had.
        """
        return self._follower().get()

    async def apull(self) -> PromptRecord:
        """Do what `pull` does, in async code.

        Raises:
            PromptrunError: There is no such prompt, or it cannot be had.
        """
        return await self._follower().aget()

    # Changes.

    def watch(self, interval: float | None = None) -> Iterator[PromptChange]:
        """Iterate over changes, as `(old, new)`, until `close` is called; for a pinned version there are none.

        Args:
            interval: Seconds between two requests, 5 at least. Default 5. `refresh` does not count here.

        Raises:
            ValueError: The interval is too short.
            PromptrunError: There is no record to begin with. Later failures are logged, and asked again after.
        """
        return self._watch(_interval(interval))

    def _watch(self, interval: float) -> Iterator[PromptChange]:
        # the frame holds the prompt, whose end would be the end of watching
        yield from self._follower().watch(interval)

    def awatch(self, interval: float | None = None) -> AsyncIterator[PromptChange]:
        """Do what `watch` does, in async code.

        Args:
            interval: Seconds between two requests, 5 at least. Default 5. `refresh` does not count here.

        Raises:
            ValueError: The interval is too short.
            PromptrunError: There is no record to begin with. Later failures are logged, and asked again after.
        """
        return self._awatch(_interval(interval))

    async def _awatch(self, interval: float) -> AsyncIterator[PromptChange]:
        async with aclosing(self._follower().awatch(interval)) as changes:
            async for change in changes:
                yield change

    # The connection.

    @override
    def close(self) -> None:
        """Let go of the shared connections, and end all watching and refreshing. The next call starts again."""
        self._stop()
        super().close()

    @override
    async def aclose(self) -> None:
        """Do what `close` does, in async code."""
        self._stop()
        await super().aclose()

    def _stop(self) -> None:
        if (lease := self._state.get("_lease")) is not None:
            lease.follower.stop()

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field; what was fetched with the old one is forgotten."""
        super().__setattr__(name, value)
        if name in type(self).model_fields:
            self.__pydantic_private__ = {"_transport": None}

    @property
    def _state(self) -> dict[str, Any]:
        """Private attributes, which may not be there yet."""
        return self.__pydantic_private__ or {}

    def _follower(self) -> Follower:
        """What keeps the prompt current; made at the first call, and only once, whichever thread comes first."""
        lease: Lease = self._state.get("_lease") or self._state.setdefault("_lease", Lease(self._new_follower()))
        return lease.follower

    def _new_follower(self) -> Follower:
        query = self.selector
        shelf = None if self.cache_dir is None else Shelf(self.cache_dir, self.base_url, query)
        return Follower(
            Source(self, self._held(), query, self.label),
            Freshness(self.refresh if self.version is None else None, time.monotonic),
            shelf=shelf,
            fallback=self._fallback_record(),
            on_change=self.on_change,
        )

    def _fallback_record(self) -> PromptRecord | None:
        if self.fallback is None:
            return None
        project = PromptProject(id=self.project_id)
        return PromptRecord(prompt=self.fallback, version=FALLBACK_VERSION, tag=self.tag, project=project)


def _interval(seconds: float | None) -> float:
    shortest = _prompt_refresh.SHORTEST_POLL
    if seconds is not None and seconds < shortest:
        raise ValueError(f"interval must be {shortest:g} s at least, or Promptrun limits the rate.")
    return shortest if seconds is None else seconds
