"""Storage of the last good records on disk, for processes that start while Promptrun is down.

A file holds a record as Promptrun sent it, without key and headers. The file's name is a hash of address, project, and
tag or version.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_promptrun.errors import PromptrunError
from langchain_promptrun.prompts.record import read_record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_promptrun.prompts.record import PromptRecord

_PRIVATE_FOLDER = 0o700


class RecordFile:
    """Reads and writes the file of one prompt."""

    def __init__(self, folder: str, base_url: str, query: Mapping[str, str | int]) -> None:
        identity = "\n".join([base_url, *(f"{name}={value}" for name, value in sorted(query.items()))])
        self.path = _expand_home(Path(folder)) / f"prompt-{hashlib.sha256(identity.encode()).hexdigest()[:40]}.json"
        self._written: bytes | None = None

    def write(self, record: PromptRecord) -> None:
        """Replace the file atomically; only its owner may read it."""
        data = record.to_wire()
        if data == self._written and self.path.exists():
            return
        self.path.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        # made with mode 0600, whatever the umask
        handle, name = tempfile.mkstemp(prefix=".prompt-", dir=self.path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
        self._written = data

    def read(self) -> PromptRecord | None:
        """Return the record, or None where the file is missing or holds something else."""
        try:
            return read_record(self.path.read_bytes())
        except (FileNotFoundError, PromptrunError):
            return None


def _expand_home(folder: Path) -> Path:
    with suppress(RuntimeError):  # there is no such user: a name like any other
        return folder.expanduser()
    return folder
