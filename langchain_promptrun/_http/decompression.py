"""Content-Encoding: compressed bytes in, plain bytes out, in pieces of bounded size.

Owns the codings of RFC 9110, section 8.4.1 (gzip, deflate), RFC 7932 (br) and RFC 8878 (zstd) and what Accept-Encoding
offers. A small body that unpacks to gigabytes never fills the memory: a piece is unpacked when the one before it was
taken. This module must not do network I/O and must not know httpx.
"""

from __future__ import annotations

import zlib
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from langchain_promptrun.errors import PromptrunResponseError, PromptrunStreamTruncatedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType

PIECE_BYTES = 1 << 20
"""The largest piece that comes out, in bytes."""

_MAX_LAYERS = 3
_ZSTD_WINDOW_BYTES = 8 << 20  # RFC 9659: no more is allowed in HTTP
_ZSTD_SLICE_BYTES = 28  # four bytes can make a block of 128 KiB (RFC 8878, 3.1.1.2), and one was cut before
_FIRST_SLICE_BYTES = 1024
_MEMBER = b"\x1f"  # RFC 1952, ID1: what follows a gzip member and does not begin like one is padding
_DEFLATED = 8  # RFC 1950, CM: the low half of a zlib stream's first byte


class _Codec(Protocol):
    """One coding at work: `step` gives the next piece, and nothing when it needs more input."""

    @property
    def finished(self) -> bool:
        """Whether the compressed data is complete so far."""

    def step(self, data: bytes) -> bytes:
        """Take `data`, which may be empty, and give at most one piece."""


class _Coding(NamedTuple):
    new: Callable[[], _Codec]
    errors: tuple[type[Exception], ...]


class _Inflate:
    """Gzip members, one after the other, or one zlib or raw deflate stream."""

    def __init__(self, wbits: int | None) -> None:
        self._wbits = wbits
        self._stream: Any = None
        self._input = b""
        self._taken = 0
        self._slice = _FIRST_SLICE_BYTES
        self._padded = False

    @property
    def finished(self) -> bool:
        return self._stream is not None and bool(self._stream.eof)

    def step(self, data: bytes) -> bytes:
        if data:
            self._input, self._taken = self._input[self._taken :] + data, 0
        piece = b""
        while not piece and self._has_stream():
            fed = self._input[self._taken : self._taken + self._slice]
            piece = self._stream.decompress(fed, PIECE_BYTES)
            self._taken += len(fed) - len(self._stream.unconsumed_tail) - len(self._stream.unused_data)
            if not fed:
                break
            # What follows a member is copied at its end, so a short one is fed little, and a long one more and more.
            self._slice = min(2 * self._slice, PIECE_BYTES)
        return piece

    def _has_stream(self) -> bool:
        """Whether a stream is open; a new one begins with what is left of the input."""
        if self._stream is not None and not self._stream.eof:
            return True
        left = self._input[self._taken : self._taken + 1]
        if self._stream is not None and left:
            self._padded = self._padded or self._wbits is None or left != _MEMBER
        if self._padded:
            self._taken = len(self._input)
        if self._padded or not left:
            return False
        self._stream = zlib.decompressobj(self._wbits or _wbits_of(left[0]))
        self._slice = _FIRST_SLICE_BYTES
        return True


def _wbits_of(first_byte: int) -> int:
    """`deflate` is zlib by the RFC and raw by habit; a raw stream does not begin like a zlib header."""
    return zlib.MAX_WBITS if first_byte & 0x0F == _DEFLATED else -zlib.MAX_WBITS


class _Zstandard:
    """Zstandard frames, by the package `zstandard`.

    Its push interface cannot limit what comes out, so what goes in is limited.
    """

    def __init__(self, module: ModuleType) -> None:
        self._unpacker = module.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        self._frame = self._unpacker.decompressobj()
        self._input = b""
        self._taken = 0

    @property
    def finished(self) -> bool:
        return bool(self._frame.eof)

    def step(self, data: bytes) -> bytes:
        if data:
            self._input, self._taken = self._input[self._taken :] + data, 0
        piece = b""
        while not piece and self._taken < len(self._input):
            if self._frame.eof:
                self._frame = self._unpacker.decompressobj()
            end = self._taken + _ZSTD_SLICE_BYTES
            piece = self._frame.decompress(self._input[self._taken : end])
            self._taken = min(end, len(self._input)) - len(self._frame.unused_data)
        return piece


class _Brotli:
    """One brotli stream, by the packages `brotli` or `brotlicffi`."""

    def __init__(self, module: ModuleType) -> None:
        self._unpacker = module.Decompressor()

    @property
    def finished(self) -> bool:
        return bool(self._unpacker.is_finished())

    def step(self, data: bytes) -> bytes:
        if self.finished:
            return b""
        # the limit is a soft one, `brotli` gives up to twice as much
        piece: bytes = self._unpacker.process(data, output_buffer_limit=PIECE_BYTES // 2)
        return piece


def _zstd(module: ModuleType) -> _Coding:
    return _Coding(lambda: _Zstandard(module), (module.ZstdError,))


def _brotli(module: ModuleType) -> _Coding | None:
    # before 1.2 the output cannot be limited
    if not hasattr(module.Decompressor, "can_accept_more_data"):
        return None
    return _Coding(lambda: _Brotli(module), (module.error,))


_OPTIONAL: tuple[tuple[str, str, Callable[[ModuleType], _Coding | None]], ...] = (
    ("br", "brotli", _brotli),
    ("br", "brotlicffi", _brotli),
    ("zstd", "zstandard", _zstd),
)


@cache
def _codings() -> Mapping[str, _Coding]:
    """What can be unpacked here, in the order in which it is offered."""
    gzip = _Coding(lambda: _Inflate(16 + zlib.MAX_WBITS), (zlib.error,))
    found = {"gzip": gzip, "deflate": _Coding(lambda: _Inflate(None), (zlib.error,))}
    for name, package, make in _OPTIONAL:
        try:
            coding = make(import_module(package))
        except ImportError:
            continue
        if coding is not None:
            found[name] = coding
    return found


def accept_encoding() -> str:
    """The value of Accept-Encoding: every coding whose decoder is installed.

    The first call imports the optional decoders, which reads files.
    """
    return ", ".join(_codings())


class BodyDecoder:
    """Unpacks one body.

    Args:
        content_encoding: The header's value: one coding or a list, in the order in which they were applied.

    Raises:
        PromptrunResponseError: A coding is unknown or its decoder is not installed, or there are too many.
    """

    __slots__ = ("_layers",)

    def __init__(self, content_encoding: str) -> None:
        names = [name.strip().lower() for name in content_encoding.split(",")]
        names = [name.removeprefix("x-") for name in names if name not in ("", "identity")]
        unknown = [name for name in names if name not in _codings()]
        if unknown or len(names) > _MAX_LAYERS:
            raise PromptrunResponseError(
                f"The answer has the Content-Encoding {content_encoding[:100]!r}, which cannot be decoded here "
                f"(decoders: {accept_encoding()})."
            )
        self._layers = [_Layer(name, _codings()[name]) for name in reversed(names)]

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes of the body.

        Args:
            data: Bytes as they came, cut anywhere.

        Yields:
            Plain bytes, at most `PIECE_BYTES` at a time. Take them all before the next call.

        Raises:
            PromptrunResponseError: The bytes are not what the coding allows.
        """
        pieces: Iterator[bytes] = iter((data,))
        for layer in self._layers:
            pieces = layer.decode(pieces)
        return pieces

    def close(self) -> None:
        """Take the end of the body.

        Raises:
            PromptrunStreamTruncatedError: The compressed data goes on.
        """
        for layer in self._layers:
            layer.close()


class _Layer:
    """One coding of a body."""

    def __init__(self, name: str, coding: _Coding) -> None:
        self._name = name
        self._errors = coding.errors
        self._codec = coding.new()
        self._fed = False

    def decode(self, inputs: Iterator[bytes]) -> Iterator[bytes]:
        for data in inputs:
            self._fed = self._fed or bool(data)
            piece = self._step(data)
            while piece:
                yield piece
                piece = self._step(b"")

    def _step(self, data: bytes) -> bytes:
        try:
            return self._codec.step(data)
        except self._errors as error:
            reason = str(error)
        raise PromptrunResponseError(f"The answer's {self._name} coding is corrupt: {reason}")

    def close(self) -> None:
        if self._fed and not self._codec.finished:
            raise PromptrunStreamTruncatedError(f"The answer's {self._name} coding ended early.")
