"""A file of JSON lines that a crash cannot spoil: each whole line counts, and one program at a time writes to it.

A line goes out in one piece. What a killed program or a full disk left of one is cut off when the file is opened again.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from types import TracebackType

NOT_OURS = "{path}, line {line}, is not a line that this program wrote: name another file"


class FileError(Exception):
    """The file cannot be used; the text says why."""


class JsonLines:
    """A file of JSON objects, one a line. Use it with `with`.

    Args:
        path: The file; made when it is not there.

    Raises:
        FileError: It cannot be read or written, is used by another program, or holds something else.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = FileLock(f"{path}.lock")

    def __enter__(self) -> Self:
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise FileError(f"{self.path} is in use by another run of this program") from error
        except OSError as error:
            raise FileError(f"cannot open {self.path}: {error.strerror}") from error
        try:
            self.found = self._whole_lines()
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            self._lock.release()
            raise FileError(f"cannot open {self.path}: {error.strerror}") from error
        except FileError:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._lock.release()

    def add(self, document: dict[str, Any]) -> None:
        """Append a line; once this returns, a killed program does not lose it.

        Raises:
            FileError: It could not be written; nothing is left of it in the file.
        """
        rest = json.dumps(document).encode() + b"\n"
        start = self._file.seek(0, os.SEEK_END)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(start)
            raise FileError(f"cannot write to {self.path}: {error.strerror}") from error

    def _whole_lines(self) -> list[dict[str, Any]]:
        """Read what is there, and cut off a torn last line."""
        if not self.path.is_file():
            return []
        *whole, torn = self.path.read_bytes().split(b"\n")
        if torn and not torn.startswith(b"{"):
            raise FileError(NOT_OURS.format(path=self.path, line=len(whole) + 1))
        documents = [self._parsed(line, number) for number, line in enumerate(whole, 1)]
        if torn:
            with self.path.open("rb+") as file:
                file.truncate(sum(len(line) + 1 for line in whole))
        return documents

    def _parsed(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            document = json.loads(line)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise FileError(NOT_OURS.format(path=self.path, line=number))
        return document
