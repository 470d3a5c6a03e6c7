"""When a managed prompt is stale, by a clock that stands still."""

import math

import pytest

from langchain_promptrun import PromptrunAPIError, PromptrunRateLimitError
from langchain_promptrun.prompts import refresh
from langchain_promptrun.prompts.record import PromptRecord
from langchain_promptrun.prompts.refresh import Freshness

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
    assert (fresh.due_in(), fresh.is_final) == (5, False)
    fresh.fail(LIMITED)
    assert (fresh.due_in(), fresh.record) == (10, ONE)
    fresh.succeed(TWO)
    assert (fresh.due_in(), fresh.is_final) == ((math.inf, True) if refresh is None else (refresh, False))


def test_prompt_freshness_rate_limit_holds_and_other_errors_do_not(fresh, clock):
    fresh.refuse()
    fresh.fail(DOWN)
    fresh.refuse()
    fresh.fail(LIMITED)
    with pytest.raises(PromptrunRateLimitError):
        fresh.refuse()
    clock.now += 10
    fresh.refuse()
