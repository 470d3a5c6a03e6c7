"""Claims of `_prompt_refresh`: when a prompt is asked for again, with a clock that stands still until it is moved."""

import math

import pytest

from langchain_promptrun import (
    PromptrunAPIError,
    PromptrunAuthenticationError,
    PromptrunConnectionError,
    PromptrunInvalidRequestError,
    PromptrunNotFoundError,
    PromptrunPermissionDeniedError,
    PromptrunRateLimitError,
    PromptrunResponseError,
    PromptrunTimeoutError,
)
from langchain_promptrun.prompts.cache import Freshness, may_pass
from langchain_promptrun.prompts.record import PromptRecord


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def fresh(clock):
    return Freshness(60, clock)


ONE = PromptRecord(prompt="One.", version=1)
TWO = PromptRecord(prompt="Two.", version=2)
LIMITED = PromptrunRateLimitError("slow down", status_code=429)
DOWN = PromptrunAPIError("down", status_code=503)


def waits(freshness, *errors, **more):
    """The seconds to wait after each of some failures in a row, while a good record is served."""
    freshness.succeed(ONE)
    return waits_without(freshness, *errors, **more)


def waits_without(freshness, *errors, **more):
    """The seconds to wait after each of some failures in a row."""
    found = []
    for error in errors:
        freshness.fail(error)
        found.append(freshness.due_in(**more))
    return found


def test_nothing_known_is_due(fresh):
    assert fresh.due_in() <= 0


def test_a_record_is_fresh_for_its_seconds(fresh, clock):
    fresh.succeed(ONE)
    assert fresh.due_in() == 60
    clock.now += 59
    assert fresh.due_in() == 1
    clock.now += 1
    assert fresh.due_in() == 0


def test_an_interval_takes_the_place_of_the_seconds(fresh):
    fresh.succeed(ONE)
    assert fresh.due_in(5) == 5


def test_a_pinned_version_is_never_due_again(clock):
    fresh = Freshness(None, clock)
    assert fresh.due_in() <= 0
    fresh.fail(DOWN, substitute=TWO)
    assert fresh.due_in() == 5
    assert not fresh.is_final
    fresh.succeed(ONE)
    assert fresh.is_final
    assert fresh.due_in() == fresh.due_in(5) == math.inf


def test_a_rate_limit_doubles_the_wait_up_to_16_times_and_5_minutes(clock):
    assert waits(Freshness(6, clock), *[LIMITED] * 6) == [12, 24, 48, 96, 96, 96]
    assert waits(Freshness(60, clock), *[LIMITED] * 4) == [120, 240, 300, 300]


def test_other_failures_wait_as_ever_and_longer_from_the_third_on(clock):
    assert waits(Freshness(10, clock), *[DOWN] * 7) == [10, 10, 15, 22.5, 33.75, 40, 40]


@pytest.mark.parametrize("refresh", [0, 0.1, 1])
def test_a_rate_limit_doubles_the_shortest_wait_too(clock, refresh):
    assert waits(Freshness(refresh, clock), *[LIMITED] * 6) == [2, 4, 8, 16, 16, 16]


def test_what_the_server_asks_for_is_enough_while_there_is_nothing_to_serve(fresh):
    asking = PromptrunRateLimitError("slow down", status_code=429, retry_after=3.0)
    assert waits_without(fresh, asking, asking) == [3, 3]
    assert waits(fresh, asking) == [120]


@pytest.mark.parametrize("refresh", [60, 3600])
def test_without_a_record_a_rate_limit_grows_from_5_seconds_whatever_the_refresh(clock, refresh):
    assert waits_without(Freshness(refresh, clock), *[LIMITED] * 6) == [10, 20, 40, 80, 80, 80]


@pytest.mark.parametrize("refresh", [60, 3600, None])
def test_while_a_substitute_is_served_the_wait_grows_from_5_seconds(clock, refresh):
    fresh = Freshness(refresh, clock)
    fresh.fail(DOWN, substitute=ONE)
    assert fresh.due_in() == 5
    assert waits_without(fresh, DOWN, DOWN, LIMITED) == [5, 7.5, 15]
    fresh.succeed(TWO)
    assert fresh.due_in() == (math.inf if refresh is None else refresh)


def test_a_short_refresh_stays_the_wait_where_there_is_no_record(clock):
    assert waits_without(Freshness(2, clock), DOWN) == [2]


def test_other_failures_do_not_shorten_what_a_rate_limit_made_long(clock):
    assert waits(Freshness(10, clock), *[LIMITED] * 3, DOWN, ValueError("x")) == [20, 40, 80, 80, 80]


def test_no_wait_after_a_failure_is_longer_than_5_minutes_or_shorter_than_a_second(clock):
    assert waits(Freshness(3600, clock), DOWN) == [300]
    assert waits(Freshness(0, clock), DOWN) == [1]


@pytest.mark.parametrize(("asked_for", "wait"), [(30, 60), (200, 200), (4000, 300)])
def test_what_the_server_asks_for_is_obeyed_within_5_minutes(clock, asked_for, wait):
    assert waits(Freshness(60, clock), PromptrunAPIError("x", status_code=503, retry_after=asked_for)) == [wait]


def test_an_interval_grows_as_the_seconds_do(fresh):
    assert waits(fresh, LIMITED, LIMITED, interval=5) == [10, 20]


def test_a_success_ends_the_waiting(fresh):
    waits(fresh, LIMITED, LIMITED)
    assert fresh.due_in() > 60
    fresh.succeed(ONE)
    assert fresh.due_in() == 60
    assert waits(fresh, LIMITED) == [120]


class TestChanges:
    def test_the_first_record_is_none(self, fresh):
        assert fresh.succeed(ONE) is None

    def test_another_record_is_one_once(self, fresh):
        fresh.succeed(ONE)
        assert fresh.succeed(TWO) == (ONE, TWO)
        assert fresh.succeed(TWO) is None

    def test_one_that_takes_the_place_of_a_substitute_is_one(self, fresh):
        fresh.fail(DOWN, substitute=ONE)
        assert fresh.succeed(TWO) == (ONE, TWO)

    def test_what_does_not_matter_is_kept_all_the_same(self, fresh):
        fresh.succeed(ONE)
        other = ONE.model_copy(update={"version_message": "x"})
        assert fresh.succeed(other) is None
        assert fresh.record is other


class TestFailures:
    def test_the_last_good_record_stays(self, fresh):
        fresh.succeed(ONE)
        fresh.fail(DOWN, substitute=TWO)
        assert fresh.record is ONE

    def test_a_substitute_is_served_where_there_is_no_record(self, fresh):
        fresh.fail(DOWN)
        assert fresh.record is None
        fresh.fail(DOWN, substitute=TWO)
        assert fresh.record is TWO

    def test_a_warning_comes_once_a_minute(self, fresh, clock):
        fresh.succeed(ONE)
        assert fresh.fail(DOWN)
        assert not fresh.fail(DOWN)
        clock.now += 59
        assert not fresh.fail(DOWN)
        clock.now += 1
        assert fresh.fail(DOWN)

    def test_an_error_that_is_raised_needs_no_warning(self, fresh):
        assert not fresh.fail(DOWN)

    def test_a_rate_limit_holds_while_nothing_can_be_served(self, fresh, clock):
        fresh.fail(LIMITED)
        assert fresh.refusal() is LIMITED
        clock.now += 10
        assert fresh.refusal() is None

    def test_other_errors_hold_nobody_back(self, fresh):
        assert fresh.refusal() is None
        fresh.fail(DOWN)
        assert fresh.refusal() is None
        fresh.fail(ValueError("x"))
        assert fresh.refusal() is None


@pytest.mark.parametrize(
    "error",
    [
        *(PromptrunConnectionError("x"), PromptrunTimeoutError("x"), PromptrunRateLimitError("x"), DOWN),
        # a maintenance page; a key function that cannot reach its vault
        *(PromptrunResponseError("x"), ConnectionRefusedError("x"), TimeoutError("x")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_substitute_stands_in_for_a_server_that_fails(fresh, error):
    assert may_pass(error)
    assert fresh.fail(error, ONE)
    assert fresh.record is ONE


@pytest.mark.parametrize(
    "error",
    [
        *(PromptrunAuthenticationError("x"), PromptrunPermissionDeniedError("x"), PromptrunNotFoundError("x")),
        *(PromptrunInvalidRequestError("x"), LookupError("x")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_none_stands_in_for_a_request_that_is_wrong(fresh, error):
    assert not may_pass(error)
    assert not fresh.fail(error, ONE)
    assert fresh.record is None
