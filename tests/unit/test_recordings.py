"""Recorded answers of real vendors: however they are cut, each parser makes the same of them.

The recordings are not part of the project: the environment variable PROMPTRUN_RECORDINGS names their folder. What the
answers say is compared with their JSON in tests/integration/test_recordings.py.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path

import pytest

from langchain_promptrun.errors import PromptrunError

from .wire import READERS, read

FOLDER = os.environ.get("PROMPTRUN_RECORDINGS", "")
CUTS = 21


def load():
    file = Path(FOLDER) / "exchanges.jsonl.gz"
    if not (FOLDER and file.exists()):
        return []
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        exchanges = [json.loads(line) for line in lines]
    return [
        pytest.param(
            exchange["response"].encode(), {"content-type": exchange["content_type"]}, id=f"{n}-{exchange['host']}"
        )
        for n, exchange in enumerate(exchanges)
        if exchange["status"] == 200
    ]


RECORDED = load()
if not RECORDED:
    pytest.skip("PROMPTRUN_RECORDINGS names no recordings", allow_module_level=True)


def outcome(parser, body, **options):
    """What a parser makes of an answer, or its error."""
    try:
        return read(parser, body, **options)
    except PromptrunError as error:
        return type(error), str(error)


@pytest.mark.parametrize(("body", "headers"), RECORDED)
def test_recorded_answer_cut_anywhere_says_the_same(body, headers):
    draw = random.Random(1)
    for parser in READERS:
        whole = outcome(parser, body, headers=headers)
        if parser is READERS[len(body) % len(READERS)]:
            assert outcome(parser, body, headers=headers, cuts=range(1, len(body))) == whole
        cuts = sorted(draw.sample(range(len(body)), min(CUTS, len(body))))
        assert outcome(parser, body, headers=headers, cuts=cuts) == whole
