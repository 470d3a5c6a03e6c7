"""A file of JSON lines that a crash cannot spoil: each whole line counts, and one program at a time writes to it.

A line goes out in one piece. What a killed program or a full disk left of one is cut off before the next is written.
"""

from __future__ import annotations

import json
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
        begins: What each line begins with, by which a torn one is known.

    Raises:
        FileError: It cannot be read or written, is used by another program, or holds something else.
    """

    def __init__(self, path: str | Path, begins: str) -> None:
        self.path, self._begins = Path(path), begins.encode()
        self._lock = FileLock(f"{path}.lock")
        self._end, self._gap, self._torn = 0, b"", False

    def __enter__(self) -> Self:
        try:
            self._check_place()
            self._lock.acquire(timeout=0)
            self.found = self._whole_lines()
            self._file = self.path.open("ab", buffering=0)
        except Timeout as error:
            raise FileError(f"{self.path} is in use by another run of this program") from error
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
        line = self._gap + json.dumps(document).encode() + b"\n"
        rest = line
        try:
            if self._torn:  # cut off only now, when who uses the file has found it to be theirs
                self._file.truncate(self._end)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._end)
            raise FileError(f"cannot write to {self.path}: {error.strerror}") from error
        self._end, self._gap, self._torn = self._end + len(line), b"", False

    def _check_place(self) -> None:
        if not self.path.parent.is_dir():  # the lock would make it
            raise FileError(f"there is no folder {self.path.parent}")
        if self.path.is_fifo():
            raise FileError(f"{self.path} is a pipe, which keeps nothing: name a file")

    def _whole_lines(self) -> list[dict[str, Any]]:
        """Read what is there."""
        content = self.path.read_bytes() if self.path.is_file() else b""
        *lines, last = content.split(b"\n")
        documents = [self._parsed(line, number) for number, line in enumerate(lines, 1)]
        self._end = len(content)
        if last:
            try:
                documents.append(self._parsed(last, len(lines) + 1))
                self._gap = b"\n"
            except FileError:
                if last[: len(self._begins)] != self._begins[: len(last)]:
                    raise
                self._end, self._torn = self._end - len(last), True
        return documents

    def _parsed(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise FileError(NOT_OURS.format(path=self.path, line=number))
        return document
