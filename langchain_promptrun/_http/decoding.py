"""Decode the body of a response by its Content-Encoding and its charset."""

from __future__ import annotations

import codecs
import re
import zlib
from typing import TYPE_CHECKING, Any

from langchain_promptrun.errors import PromptrunResponseError, PromptrunStreamTruncatedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

ACCEPT_ENCODING = "gzip, deflate"
PIECE_BYTES = 1 << 20  # the largest piece of a decoded body
_CONTROLS = bytes(range(9)) + bytes(range(14, 32))
_GZIP = 16 + zlib.MAX_WBITS
_WINDOW_BITS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": zlib.MAX_WBITS}
# servers put these into the header although they name no compression
_NO_COMPRESSION = frozenset({"", "identity", "none", "chunked", "aws-chunked", "utf-8", "utf8", "binary", "8bit"})
_MEMBER = b"\x1f"  # RFC 1952, ID1; other bytes after a gzip member are padding
_DEFLATED = 8  # RFC 1950, CM: the low half of a zlib stream's first byte
# charsets of one byte for each character, ASCII among them
_CHARSET = r"""(?i)charset\s*=\s*['"]?(iso[-_]?8859-(?:[1-9]|1[013-6])|latin-?1|(?:windows-|cp)125[0-8])\b"""


def decoded(raw: Iterator[bytes], decoder: Decoder) -> Iterator[bytes]:
    for data in raw:
        yield from decoder.decode(data)
    if last := decoder.close():
        yield last


async def decoded_async(raw: AsyncIterator[bytes], decoder: Decoder) -> AsyncIterator[bytes]:
    async for data in raw:
        for piece in decoder.decode(data):
            yield piece
    if last := decoder.close():
        yield last


def is_text(data: bytes) -> bool:
    """Tell text, which may be cut off, from compressed data."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return data.translate(None, _CONTROLS) == data


def new_decoder(headers: Mapping[str, str], *, is_compressed: bool = True) -> Decoder | None:
    """Return the decoder for a body of these headers; None where its bytes are taken as they are."""
    encoding = headers.get("content-encoding", "") if is_compressed else ""
    names = [name for part in encoding.split(",") if (name := part.strip().lower()) not in _NO_COMPRESSION]
    if len(names) > 1 or not _WINDOW_BITS.keys() >= set(names):
        error = PromptrunResponseError(
            f"The response has the Content-Encoding {encoding[:100]!r}, which is not supported. "
            f"Have the server send one of: {ACCEPT_ENCODING}."
        )
        error.is_retryable = False
        raise error
    charset = re.search(_CHARSET, headers.get("content-type", ""))
    return Decoder("".join(names), charset[1] if charset else "") if names or charset else None


class Decoder:
    """Decodes a body, in pieces of bounded size, by its Content-Encoding (RFC 9110, 8.4.1) and its charset.

    A charset counts from the first byte on that cannot be UTF-8.
    """

    def __init__(self, coding: str, charset: str) -> None:
        self._coding = coding
        self._charset = charset
        self._stream: Any = None
        self._text: codecs.IncrementalDecoder = codecs.getincrementaldecoder("utf-8")()

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield the plain bytes of the next part of a body; take all before the next call."""
        for piece in self._decompressed(data) if self._coding else (data,):
            if plain := self._as_utf8(piece) if self._charset else piece:
                yield plain

    def _decompressed(self, data: bytes) -> Iterator[bytes]:
        piece = b""
        while data or len(piece) >= PIECE_BYTES:
            if data and self._stream is None:
                # the RFC means zlib streams by `deflate`; some servers send raw ones
                is_raw = self._coding == "deflate" and data[0] & 0x0F != _DEFLATED
                self._stream = zlib.decompressobj(-zlib.MAX_WBITS if is_raw else _WINDOW_BITS[self._coding])
            elif data and self._stream.eof:
                if self._coding == "deflate" or not data.startswith(_MEMBER):
                    return  # padding
                self._stream = zlib.decompressobj(_GZIP)
            try:
                piece = self._stream.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                raise PromptrunResponseError(f"The response's {self._coding} data is corrupt: {error}.") from None
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            yield piece

    def close(self) -> bytes:
        """Return the last bytes; raise PromptrunStreamTruncatedError where the compressed data goes on."""
        if self._stream is not None and not self._stream.eof:
            raise PromptrunStreamTruncatedError(f"The response's {self._coding} data ended early.")
        return self._as_utf8(b"", final=True) if self._charset else b""

    def _as_utf8(self, data: bytes, *, final: bool = False) -> bytes:
        waiting = self._text.getstate()[0]
        try:
            return self._text.decode(data, final).encode()
        except UnicodeDecodeError:
            self._text = codecs.getincrementaldecoder(self._charset)("replace")
            return self._text.decode(waiting + data).encode()
