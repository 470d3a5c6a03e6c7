"""Decode a body's Content-Encoding, gzip or deflate (RFC 9110, 8.4.1), in pieces of bounded size, and charsets."""

from __future__ import annotations

import codecs
import re
import zlib
from typing import TYPE_CHECKING, Any

from langchain_promptrun.errors import PromptrunResponseError, PromptrunStreamTruncatedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ACCEPT_ENCODING = "gzip, deflate"
PIECE_BYTES = 1 << 20
"""The largest piece that comes out, in bytes."""

_GZIP = 16 + zlib.MAX_WBITS
_CODINGS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": zlib.MAX_WBITS}
# servers put these into the header although they name no compression
_NO_COMPRESSION = frozenset({"", "identity", "none", "chunked", "aws-chunked", "utf-8", "utf8", "binary", "8bit"})
_MEMBER = b"\x1f"  # RFC 1952, ID1; other bytes after a gzip member are padding
_DEFLATED = 8  # RFC 1950, CM: the low half of a zlib stream's first byte
# of one byte for each character, ASCII among them
_CHARSET = r"""(?i)charset\s*=\s*['"]?(iso[-_]?8859-(?:[1-9]|1[013-6])|latin-?1|(?:windows-|cp)125[0-8])\b"""


def new_decoder(headers: Mapping[str, str], *, is_compressed: bool = True) -> Decoder | CharsetDecoder | None:
    """Return the decoder for a body of these headers; None where its bytes are taken as they are."""
    decoder = _decompressor(headers.get("content-encoding", "")) if is_compressed else None
    declared = re.search(_CHARSET, headers.get("content-type", ""))
    return CharsetDecoder(decoder, declared[1]) if declared else decoder


def _decompressor(content_encoding: str) -> Decoder | None:
    names = [name.strip().lower() for name in content_encoding.split(",")]
    names = [name for name in names if name not in _NO_COMPRESSION]
    if not names:
        return None
    if len(names) == 1 and names[0] in _CODINGS:
        return Decoder(names[0])
    error = PromptrunResponseError(
        f"The response has the Content-Encoding {content_encoding[:100]!r}, which is not supported. "
        f"Have the server send one of: {ACCEPT_ENCODING}."
    )
    error.is_retryable = False
    raise error


class Decoder:
    __slots__ = ("_name", "_stream")

    def __init__(self, name: str) -> None:
        self._name = name
        self._stream: Any = None

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield the plain bytes of the next part of a body; take all before the next call."""
        piece = b""
        while data or len(piece) >= PIECE_BYTES:
            if data and self._stream is None:
                # the RFC means zlib streams by `deflate`; some servers send raw ones
                is_raw = self._name == "deflate" and data[0] & 0x0F != _DEFLATED
                self._stream = zlib.decompressobj(-zlib.MAX_WBITS if is_raw else _CODINGS[self._name])
            elif data and self._stream.eof:
                if self._name == "deflate" or not data.startswith(_MEMBER):
                    return  # padding
                self._stream = zlib.decompressobj(_GZIP)
            piece = self._decompress(data)
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            if piece:
                yield piece

    def _decompress(self, data: bytes) -> bytes:
        try:
            return bytes(self._stream.decompress(data, PIECE_BYTES))
        except zlib.error as error:
            reason = str(error)
        raise PromptrunResponseError(f"The response's {self._name} data is corrupt: {reason}.")

    def close(self) -> bytes:
        """Return the last bytes; raise PromptrunStreamTruncatedError where the compressed data goes on."""
        if self._stream is not None and not self._stream.eof:
            raise PromptrunStreamTruncatedError(f"The response's {self._name} data ended early.")
        return b""


class CharsetDecoder:
    """Makes UTF-8 of a body with a declared charset, which counts from the first byte on that cannot be UTF-8."""

    def __init__(self, decompressor: Decoder | None, charset: str) -> None:
        self._decompressor = decompressor
        self._charset = charset
        self._decoder: codecs.IncrementalDecoder = codecs.getincrementaldecoder("utf-8")()

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield the UTF-8 of the next part of a body."""
        for piece in (data,) if self._decompressor is None else self._decompressor.decode(data):
            if text := self._read(piece):
                yield text

    def close(self) -> bytes:
        """Return the last bytes; raise PromptrunStreamTruncatedError where compressed data goes on."""
        if self._decompressor is not None:
            self._decompressor.close()
        return self._read(b"", final=True)

    def _read(self, data: bytes, *, final: bool = False) -> bytes:
        waiting = self._decoder.getstate()[0]
        try:
            return self._decoder.decode(data, final).encode()
        except UnicodeDecodeError:
            self._decoder = codecs.getincrementaldecoder(self._charset)("replace")
            return self._decoder.decode(waiting + data).encode()
