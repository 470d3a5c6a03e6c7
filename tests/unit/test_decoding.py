"""Content-Encoding: what goes in packed comes out plain, in pieces, however it is cut, or an error of ours does."""

from __future__ import annotations

import contextlib
import gzip
import random
import sys
import time
import tracemalloc
import types
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from langchain_promptrun._http import decompression as _decoding
from langchain_promptrun._http.decompression import PIECE_BYTES, BodyDecoder, accept_encoding
from langchain_promptrun.errors import PromptrunError, PromptrunResponseError, PromptrunStreamTruncatedError


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def zstd(data):
    return zstandard.ZstdCompressor().compress(data)


PACKERS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstd}
MEMBERS = [("gzip", gzip.compress), ("zstd", zstd)]
CASES = [*PACKERS.items(), ("deflate", raw_deflate)]
cases = pytest.mark.parametrize(("coding", "pack"), CASES, ids=[f"{name}-{pack.__name__}" for name, pack in CASES])


def unpack(coding, packed, step):
    decoder = BodyDecoder(coding)
    pieces = []
    for start in range(0, len(packed), step):
        pieces += decoder.decode(packed[start : start + step])
    decoder.close()
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)
    return b"".join(pieces)


@pytest.fixture
def no_cache():
    """Decoders are looked for anew, before and after."""
    _decoding._codings.cache_clear()
    yield
    _decoding._codings.cache_clear()


@cases
@pytest.mark.parametrize("step", [1, 7, 100_000_000])
def test_body_comes_out_whole_however_it_is_cut(coding, pack, step):
    data = b"".join(b"data: %d\n\n" % number for number in range(300))
    assert unpack(coding, pack(data), step) == data


@cases
def test_large_body_comes_in_pieces(coding, pack):
    data = random.Random(1).randbytes(70_000) + bytes(9_000_000)
    assert unpack(coding, pack(data), 65_536) == data


@cases
@given(data=st.binary(max_size=200), step=st.integers(1, 50))
def test_any_body_comes_out_whole(coding, pack, data, step):
    assert unpack(coding, pack(data), step) == data


@cases
def test_what_was_flushed_comes_out_at_once(coding, pack):
    """An event must not wait for the next one."""
    del pack
    packers = {
        "gzip": lambda: zlib.compressobj(wbits=16 + zlib.MAX_WBITS),
        "x-gzip": lambda: zlib.compressobj(wbits=16 + zlib.MAX_WBITS),
        "deflate": zlib.compressobj,
        "zstd": lambda: zstandard.ZstdCompressor().compressobj(),
    }
    packer = packers[coding]()
    flush = zstandard.COMPRESSOBJ_FLUSH_BLOCK if coding == "zstd" else zlib.Z_SYNC_FLUSH
    decoder = BodyDecoder(coding)
    for event in (b"data: one\n\n", b"data: two\n\n"):
        packed = packer.compress(event) + packer.flush(flush)
        assert b"".join(decoder.decode(packed)) == event


@cases
def test_bomb_does_not_fill_the_memory(coding, pack):
    packed = pack(bytes(100_000_000))
    decoder = BodyDecoder(coding)
    tracemalloc.start()
    size = 0
    for start in range(0, len(packed), 65_536):
        for piece in decoder.decode(packed[start : start + 65_536]):
            size += len(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size == 100_000_000
    assert peak < 4 * PIECE_BYTES


def test_pieces_are_unpacked_only_as_they_are_taken():
    decoder = BodyDecoder("gzip, gzip")
    pieces = decoder.decode(gzip.compress(gzip.compress(bytes(10 * PIECE_BYTES))))
    assert PIECE_BYTES / 2 < len(next(pieces)) <= PIECE_BYTES


@cases
def test_truncated_body_is_said_to_be_truncated(coding, pack):
    packed = pack(b"some text, some text")
    decoder = BodyDecoder(coding)
    list(decoder.decode(packed[:-1]))
    with pytest.raises(PromptrunStreamTruncatedError, match=coding.removeprefix("x-")):
        decoder.close()


@cases
def test_empty_body_is_no_truncated_one(coding, pack):
    del pack
    assert unpack(coding, b"", 1) == b""
    decoder = BodyDecoder(coding)
    assert list(decoder.decode(b"")) == []
    decoder.close()


@pytest.mark.parametrize("coding", PACKERS)
def test_corrupt_body_raises_and_says_so(coding):
    decoder = BodyDecoder(coding)
    with pytest.raises(PromptrunResponseError, match="corrupt") as caught:
        list(decoder.decode(b"\xff" * 100))
    assert caught.value.__context__ is None


@pytest.mark.parametrize("coding", PACKERS)
@given(data=st.binary(max_size=300), step=st.integers(1, 300))
def test_any_bytes_give_bytes_or_our_error(coding, data, step):
    with contextlib.suppress(PromptrunError):
        unpack(coding, data, step)


@pytest.mark.parametrize(("coding", "pack"), MEMBERS)
@pytest.mark.parametrize("step", [1, 5, 1000])
def test_members_one_after_the_other_are_one_body(coding, pack, step):
    assert unpack(coding, pack(b"one ") + pack(b"two ") + pack(b"three"), step) == b"one two three"


@pytest.mark.parametrize(("coding", "pack"), MEMBERS)
@pytest.mark.parametrize("step", [1, 5, 1000])
def test_empty_members_do_not_hide_the_members_after_them(coding, pack, step):
    assert unpack(coding, pack(b"one ") + pack(b"") + pack(b"") + pack(b"two") + pack(b""), step) == b"one two"


@pytest.mark.parametrize(("coding", "pack"), MEMBERS)
@given(texts=st.lists(st.just(b"") | st.binary(max_size=3_000)), step=st.integers(1, 3_000))
def test_any_members_are_one_body(coding, pack, texts, step):
    assert unpack(coding, b"".join(map(pack, texts)), step) == b"".join(texts)


@pytest.mark.parametrize(("coding", "pack"), MEMBERS)
def test_a_member_cut_off_after_empty_ones_is_truncated(coding, pack):
    with pytest.raises(PromptrunStreamTruncatedError):
        unpack(coding, pack(b"") + pack(b"") + pack(b"two")[:-3], 1000)


def test_empty_members_without_end_hold_no_memory():
    packed = gzip.compress(b"") * 3_000
    decoder = BodyDecoder("gzip")
    assert list(decoder.decode(packed)) == []
    tracemalloc.start()
    for _ in range(10):
        assert list(decoder.decode(packed)) == []
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 2 * len(packed)
    decoder.close()


def test_empty_members_take_time_by_their_number():
    """Copying all that follows at the end of each one would take 80 GB of copying, and minutes."""
    packed = gzip.compress(b"") * 90_000
    began = time.process_time()
    assert unpack("gzip", packed, len(packed)) == b""
    assert time.process_time() - began < 15


@pytest.mark.parametrize("step", [1, 1000])
def test_what_follows_a_zlib_stream_is_ignored_whatever_it_looks_like(step):
    for more in (gzip.compress(b"more"), zlib.compress(b"more"), b"more"):
        assert unpack("deflate", zlib.compress(b"one") + more, step) == b"one"


def test_second_member_cut_off_is_truncated():
    with pytest.raises(PromptrunStreamTruncatedError):
        unpack("gzip", gzip.compress(b"one") + gzip.compress(b"two")[:-3], 1000)


@pytest.mark.parametrize("padding", [b"\0" * 9, b"padding", b"\0" + gzip.compress(b"two")], ids=["0", "text", "member"])
@pytest.mark.parametrize("step", [1, 1000])
def test_padding_after_the_last_gzip_member_is_ignored(padding, step):
    assert unpack("gzip", gzip.compress(b"one") + padding, step) == b"one"


def test_codings_are_undone_in_reverse_order():
    assert unpack("deflate, GZIP", gzip.compress(zlib.compress(b"text")), 3) == b"text"


@pytest.mark.parametrize("coding", ["", "identity", "Identity , "])
def test_identity_changes_nothing(coding):
    assert unpack(coding, b"text", 2) == b"text"


@pytest.mark.parametrize("coding", ["compress", "gzip, sdch", "gzip, gzip, gzip, gzip"])
def test_coding_that_cannot_be_decoded_is_named(coding):
    with pytest.raises(PromptrunResponseError, match=f"'{coding}'.*decoders: gzip"):
        BodyDecoder(coding)


def test_zstd_window_beyond_what_http_allows_is_refused():
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = packer.compress(b"x") + packer.flush()
    with pytest.raises(PromptrunResponseError, match="zstd"):
        unpack("zstd", packed, 1000)


class Decompressor:
    """The interface of `brotli` 1.2 over zlib: the output is limited, what is left comes with the next calls."""

    def __init__(self):
        self._stream = zlib.decompressobj()

    def process(self, data, output_buffer_limit):
        assert not self._stream.eof, "brotli raises when it is fed after its end"
        return self._stream.decompress(self._stream.unconsumed_tail + data, output_buffer_limit)

    def can_accept_more_data(self):
        return not self._stream.unconsumed_tail

    def is_finished(self):
        return self._stream.eof


def fake_brotli(name, decompressor):
    module = types.ModuleType(name)
    module.Decompressor = decompressor
    module.error = zlib.error
    return module


@pytest.mark.usefixtures("no_cache")
@pytest.mark.parametrize("package", ["brotli", "brotlicffi"])
def test_br_is_decoded_where_its_package_is_installed(monkeypatch, package):
    for name in ("brotli", "brotlicffi"):
        monkeypatch.setitem(sys.modules, name, fake_brotli(name, Decompressor) if name == package else None)
    data = b"text" + bytes(5_000_000)
    assert unpack("br", zlib.compress(data) + b"more", 1000) == data
    with pytest.raises(PromptrunStreamTruncatedError):
        unpack("br", zlib.compress(data)[:-1], 1000)
    assert accept_encoding() == "gzip, deflate, br, zstd"


@pytest.mark.usefixtures("no_cache")
def test_br_is_not_offered_where_its_output_cannot_be_limited(monkeypatch):
    """Before version 1.2."""
    for name in ("brotli", "brotlicffi"):
        monkeypatch.setitem(sys.modules, name, fake_brotli(name, object))
    assert accept_encoding() == "gzip, deflate, zstd"


@pytest.mark.usefixtures("no_cache")
def test_only_what_is_installed_is_offered(monkeypatch):
    for name in ("brotli", "brotlicffi", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)
    assert accept_encoding() == "gzip, deflate"
    with pytest.raises(PromptrunResponseError, match="zstd"):
        BodyDecoder("zstd")
