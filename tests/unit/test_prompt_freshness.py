"""When a managed prompt is stale, by a clock that stands still, and its file on disk."""

import math
import os
import stat
from unittest.mock import Mock

import pytest

from langchain_promptrun import PromptrunAPIError, PromptrunRateLimitError
from langchain_promptrun.prompts import refresh
from langchain_promptrun.prompts.record import PromptRecord, record_path, stored_record, write_record
from langchain_promptrun.prompts.refresh import Freshness

URL, QUERY = "https://h.example/v1", {"projectId": "p", "tag": "prod"}
ONE = PromptRecord(prompt="One.", version=1)
TWO = PromptRecord(prompt="Two.", version=2)
LIMITED = PromptrunRateLimitError("slow down", status_code=429)
DOWN = PromptrunAPIError("down", status_code=503)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(refresh, "clock", clock)
    return clock


@pytest.fixture
def fresh():
    return Freshness(60)


def test_prompt_freshness_record_is_fresh_for_its_seconds_and_an_interval_instead(fresh, clock):
    assert fresh.due_in() <= 0
    fresh.succeed(ONE)
    assert (fresh.due_in(), fresh.due_in(5)) == (60, 5)
    clock.now += 60
    assert fresh.due_in() == 0
    fresh.is_pushed = True
    assert fresh.due_in() == fresh.due_in(5) == math.inf


def test_prompt_freshness_pinned_version_is_never_due_again(clock):
    fresh = Freshness(None)
    fresh.fail(DOWN, substitute=TWO)
    assert (fresh.due_in(), fresh.is_final) == (5, False)
    fresh.succeed(ONE)
    assert (fresh.due_in(), fresh.is_final) == (math.inf, True)


def asking(seconds, kind=PromptrunRateLimitError, status=429):
    return kind("slow down", status_code=status, retry_after=seconds)


@pytest.mark.parametrize(
    ("refresh", "record", "errors", "waits"),
    [
        # a rate limit doubles the wait, up to 16 times and 5 minutes
        (6, ONE, [LIMITED] * 6, [12, 24, 48, 96, 96, 96]),
        (60, ONE, [LIMITED] * 4, [120, 240, 300, 300]),
        (0, ONE, [LIMITED] * 6, [2, 4, 8, 16, 16, 16]),
        # others stretch it from the third on, up to 4 times, and shorten nothing
        (10, ONE, [DOWN] * 7, [10, 10, 15, 22.5, 33.75, 40, 40]),
        (10, ONE, [LIMITED, LIMITED, LIMITED, DOWN, ValueError("x")], [20, 40, 80, 80, 80]),
        # no wait is longer than 5 minutes or shorter than a second
        (3600, ONE, [DOWN], [300]),
        (0, ONE, [DOWN], [1]),
        # what the server asks for is obeyed within 5 minutes
        (60, ONE, [asking(30, PromptrunAPIError, 503)], [60]),
        (60, ONE, [asking(200, PromptrunAPIError, 503)], [200]),
        (60, ONE, [asking(4000, PromptrunAPIError, 503)], [300]),
        (60, ONE, [asking(3.0)], [120]),
        # without a record the wait grows from 5 seconds, and a rate limit holds as long as it says
        (3600, None, [LIMITED] * 6, [10, 20, 40, 80, 80, 80]),
        (2, None, [DOWN], [2]),
        (60, None, [asking(3.0)] * 2, [3, 3]),
    ],
)
def test_prompt_freshness_wait_after_failures(clock, refresh, record, errors, waits):
    fresh = Freshness(refresh)
    if record is not None:
        fresh.succeed(record)
    found = []
    for error in errors:
        fresh.fail(error)
        found.append(fresh.due_in())
    assert found == waits
    fresh.succeed(TWO)
    assert fresh.due_in() == refresh


@pytest.mark.parametrize("refresh", [60, 3600, None])
def test_prompt_freshness_wait_grows_from_5_seconds_while_a_substitute_is_served(clock, refresh):
    fresh = Freshness(refresh)
    fresh.fail(DOWN, substitute=ONE)
    assert fresh.due_in() == 5
    fresh.fail(LIMITED)
    assert (fresh.due_in(), fresh.record) == (10, ONE)
    fresh.succeed(TWO)
    assert fresh.due_in() == (math.inf if refresh is None else refresh)


def test_prompt_freshness_rate_limit_holds_and_other_errors_do_not(fresh, clock):
    assert fresh.refusal() is None
    fresh.fail(DOWN)
    assert fresh.refusal() is None
    fresh.fail(LIMITED)
    assert fresh.refusal() is LIMITED
    clock.now += 10
    assert fresh.refusal() is None


@pytest.fixture
def path(tmp_path):
    return record_path(str(tmp_path), URL, QUERY)


def test_prompt_file_comes_back_private_and_in_promptruns_spelling(path):
    record = PromptRecord(prompt="One.", version="v1", versionMessage="first", labels=["a"])
    write_record(path, record)
    assert stored_record(path) == record
    assert b'"versionMessage":"first"' in path.read_bytes()
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_prompt_file_of_version_0_1_0_has_the_same_name(tmp_path):
    assert record_path(str(tmp_path), URL, dict(reversed(QUERY.items()))).name == (
        "prompt-fffa0c7ac5d346805dfdbb54eea9c8c38d868f53.json"
    )
    others = [{}, {"projectId": "q"}, {"tag": "dev"}]
    paths = {record_path(str(tmp_path), url, QUERY | more) for url in (URL, "https://o.example") for more in others}
    assert len(paths) == 2 * len(others)


def test_prompt_file_is_written_again_only_where_it_must_and_whole_or_not_at_all(path, monkeypatch):
    write_record(path, ONE)
    before = path.stat().st_mtime_ns
    write_record(path, ONE)
    assert path.stat().st_mtime_ns == before
    path.unlink()
    write_record(path, ONE)
    monkeypatch.setattr(os, "fsync", Mock(side_effect=OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_record(path, TWO)
    assert (stored_record(path), len(list(path.parent.iterdir()))) == (ONE, 1)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"prompt": "x"}'])
def test_prompt_file_that_is_missing_or_holds_something_else_is_none(path, content):
    if content is not None:
        path.write_bytes(content)
    assert stored_record(path) is None


def test_prompt_file_folder_may_begin_with_the_users_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert record_path("~/prompts", URL, QUERY).parent == tmp_path / "prompts"
