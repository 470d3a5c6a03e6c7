"""Content-Encoding: what goes in packed comes out plain, in pieces, however it is cut, or an error of ours does."""

from __future__ import annotations

import contextlib
import gzip
import random
import tracemalloc
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from langchain_promptrun._http.response import PIECE_BYTES, new_decoder
from langchain_promptrun.errors import PromptrunError, PromptrunResponseError, PromptrunStreamTruncatedError


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress}
CASES = [*PACKERS.items(), ("deflate", raw_deflate)]
cases = pytest.mark.parametrize(("coding", "pack"), CASES, ids=[f"{name}-{pack.__name__}" for name, pack in CASES])


def unpack(coding, packed, step):
    decoder = new_decoder({"content-encoding": coding})
    pieces = []
    for start in range(0, len(packed), step):
        pieces += decoder.decode(packed[start : start + step])
    decoder.close()
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)
    return b"".join(pieces)


@cases
@pytest.mark.parametrize("step", [1, 7, 100_000_000])
def test_body_comes_out_whole_however_it_is_cut(coding, pack, step):
    data = b"".join(b"data: %d\n\n" % number for number in range(300))
    assert unpack(coding, pack(data), step) == data


@cases
def test_large_body_comes_in_pieces(coding, pack):
    data = random.Random(1).randbytes(70_000) + bytes(3_000_000)
    assert unpack(coding, pack(data), 65_536) == data


@pytest.mark.parametrize("coding", PACKERS)
def test_what_was_flushed_comes_out_at_once(coding):
    """An event must not wait for the next one."""
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS if coding == "deflate" else 16 + zlib.MAX_WBITS)
    decoder = new_decoder({"content-encoding": coding})
    for event in (b"data: one\n\n", b"data: two\n\n"):
        packed = packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH)
        assert b"".join(decoder.decode(packed)) == event


@cases
def test_bomb_does_not_fill_the_memory(coding, pack):
    packed = pack(bytes(16_000_000))
    decoder = new_decoder({"content-encoding": coding})
    tracemalloc.start()
    size = 0
    for start in range(0, len(packed), 65_536):
        for piece in decoder.decode(packed[start : start + 65_536]):
            size += len(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size == 16_000_000
    assert peak < 4 * PIECE_BYTES


@cases
def test_truncated_body_is_said_to_be_truncated_and_an_empty_one_is_not(coding, pack):
    packed = pack(b"some text, some text")
    decoder = new_decoder({"content-encoding": coding})
    list(decoder.decode(packed[:-1]))
    with pytest.raises(PromptrunStreamTruncatedError, match=coding.removeprefix("x-")):
        decoder.close()
    assert unpack(coding, b"", 1) == b""


@pytest.mark.parametrize("coding", PACKERS)
def test_corrupt_body_raises_and_says_so(coding):
    decoder = new_decoder({"content-encoding": coding})
    with pytest.raises(PromptrunResponseError, match="corrupt") as caught:
        list(decoder.decode(b"\xff" * 100))
    assert caught.value.__context__ is None


@pytest.mark.parametrize("coding", PACKERS)
@given(data=st.binary(max_size=300), step=st.integers(1, 300))
def test_any_bytes_give_bytes_or_our_error(coding, data, step):
    with contextlib.suppress(PromptrunError):
        unpack(coding, data, step)


@given(texts=st.lists(st.just(b"") | st.binary(max_size=3_000)), step=st.integers(1, 3_000))
@example([b"one ", b"two ", b"three"], 1)
def test_members_of_gzip_one_after_the_other_are_one_body(texts, step):
    assert unpack("gzip", b"".join(map(gzip.compress, texts)), step) == b"".join(texts)


@pytest.mark.parametrize("step", [1, 1000])
def test_what_follows_a_zlib_stream_is_ignored_whatever_it_looks_like(step):
    for more in (gzip.compress(b"more"), zlib.compress(b"more"), b"more"):
        assert unpack("deflate", zlib.compress(b"one") + more, step) == b"one"


@pytest.mark.parametrize("padding", [b"\0" * 9, b"padding"], ids=["0", "text"])
@pytest.mark.parametrize("step", [1, 1000])
def test_padding_after_the_last_gzip_member_is_ignored(padding, step):
    assert unpack("gzip", gzip.compress(b"one") + padding, step) == b"one"


@pytest.mark.parametrize("coding", ["", "identity", "Identity , ", "none", "UTF-8", "chunked", "identity, chunked"])
def test_name_of_no_compression_needs_no_decoder(coding):
    assert new_decoder({"content-encoding": coding}) is None


@pytest.mark.parametrize("coding", ["compress", "br", "zstd", "gzip, sdch", "gzip, gzip"])
def test_compression_that_is_not_supported_is_named(coding):
    with pytest.raises(PromptrunResponseError, match=f"'{coding}'.*gzip, deflate") as caught:
        new_decoder({"content-encoding": coding})
    assert not caught.value.is_retryable
