"""Content-Encoding: what was packed comes out as it comes in, in bounded pieces, or an error of ours does."""

from __future__ import annotations

import contextlib
import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from langchain_promptrun._http.response import PIECE_BYTES, new_decoder
from langchain_promptrun.errors import PromptrunError

PACKERS = {"gzip": gzip.compress, "deflate": zlib.compress}


def unpack(coding, packed, step):
    decoder = new_decoder({"content-encoding": coding})
    pieces = []
    for start in range(0, len(packed), step):
        pieces += decoder.decode(packed[start : start + step])
    decoder.close()
    return b"".join(pieces)


@pytest.mark.parametrize(("coding", "pack"), PACKERS.items())
def test_bomb_comes_out_in_pieces_and_does_not_fill_the_memory(coding, pack):
    packed = pack(bytes(16_000_000))
    decoder = new_decoder({"content-encoding": coding})
    tracemalloc.start()
    sizes = [
        len(piece)
        for start in range(0, len(packed), 65_536)
        for piece in decoder.decode(packed[start : start + 65_536])
    ]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (sum(sizes), max(sizes)) == (16_000_000, PIECE_BYTES)
    assert peak < 4 * PIECE_BYTES


@pytest.mark.parametrize("coding", PACKERS)
@given(data=st.binary(max_size=300), step=st.integers(1, 300))
def test_any_bytes_give_bytes_or_our_error(coding, data, step):
    with contextlib.suppress(PromptrunError):
        unpack(coding, data, step)


@given(texts=st.lists(st.just(b"") | st.binary(max_size=3_000)), step=st.integers(1, 3_000))
@example([b"one ", b"two ", b"three"], 1)
def test_members_of_gzip_one_after_the_other_are_one_body_however_it_is_cut(texts, step):
    assert unpack("gzip", b"".join(map(gzip.compress, texts)), step) == b"".join(texts)
