"""Which words of a server mean that the input is too long.

`context_overflow.json` has what servers answered. The rules were written from the lists of that name; the others were
collected apart and only check: no rule was made or changed for one of them.
"""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_promptrun._errors.body import is_context_overflow

TEXTS = json.loads(Path(__file__).with_name("context_overflow.json").read_text("utf-8"))
ROWS = [(text, kind.startswith("too long"), f"{kind}: {name}") for kind in TEXTS for name, text in TEXTS[kind].items()]


@pytest.mark.parametrize(("text", "is_overflow"), [row[:2] for row in ROWS], ids=[row[2] for row in ROWS])
def test_context_overflow_is_told_by_the_words_of_servers(text, is_overflow):
    assert is_context_overflow(text) is is_overflow


@pytest.mark.parametrize(
    "text",
    [
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 200000. This model's maximum context length is "
            "65536 tokens and your request has 12 input tokens (200000 > 65536 - 12)."
        ),
        (
            "This model's maximum context length is 4097 tokens. However, you requested 10000012 tokens "
            "(12 in the messages, 10000000 in the completion). Please reduce the length of the messages or completion."
        ),
        "input length and `max_tokens` exceed context limit: 12 + 250000 > 200000, decrease input length",
        "max_tokens=9000 cannot be greater than max_model_len=8192",
        "max_tokens is too large: 32768. This model supports at most 16384 completion tokens",
        "`max_completion_tokens` (9000) exceeds the maximum of 8192 for this model",
        "max_new_tokens must be at most 4096, got 5000",
    ],
)
def test_context_overflow_is_not_told_of_an_output_that_alone_is_over_the_limit(text):
    """A shorter input would not help there, whatever the code says."""
    assert not is_context_overflow(text, ["contextlengthexceeded"] if "context" in text else [])


NAMES = {
    True: ["contextlengthexceeded", "exceedcontextsize", "contextwindowexceeded", "modelcontextwindowexceeded"],
    False: ["ratelimitexceeded", "requesttoolarge", "stringabovemaxlength", "invalidrequest"],
}


@pytest.mark.parametrize(("name", "is_overflow"), [(name, told) for told, names in NAMES.items() for name in names])
def test_context_overflow_is_told_by_a_code_or_type_without_words(name, is_overflow):
    assert is_context_overflow("no", ["invalidrequest", name]) is is_overflow


def test_context_overflow_is_told_whatever_the_case_markup_and_grouping_of_digits():
    assert is_context_overflow("PROMPT  is\n**too long**: 1,000,000 > 200_000")


@given(st.text())
def test_free_text_is_never_an_error(text):
    assert is_context_overflow(text) in {True, False}


@pytest.mark.parametrize(
    "piece", ["exceed ", "context ", "input tokens ", "too large: 1", "request too large for ", "( "]
)
def test_hostile_texts_are_judged_quickly(piece):
    start = time.process_time()
    is_context_overflow((piece * 4_000)[:4_000])
    assert time.process_time() - start < 5
