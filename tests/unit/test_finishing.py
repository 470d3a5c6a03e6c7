"""Work that a cancellation does not stop half-way."""

from __future__ import annotations

import asyncio

import pytest

from langchain_promptrun._http.finishing import to_the_end


@pytest.fixture
def steps():
    return []


async def work(steps, *pauses):
    try:
        for number, pause in enumerate(pauses):
            steps.append(number)
            await asyncio.sleep(pause)
        steps.append("done")
    finally:
        steps.append("closed")


async def test_work_that_is_not_interrupted_is_waited_for(steps):
    await to_the_end(work(steps, 0, 0.01, 0))
    assert steps == [0, 1, 2, "done", "closed"]


@pytest.mark.parametrize(
    ("pauses", "expected"),
    [((0, 0, 0), [0, 1, 2, "done", "closed"]), ((0, 0, 60, 0), [0, 1, 2, "closed"])],
    ids=["whose turn it is", "that waits"],
)
async def test_interrupted_work_goes_on_as_far_as_it_can_without_waiting(steps, pauses, expected):
    task = asyncio.ensure_future(to_the_end(work(steps, *pauses)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == expected


async def test_error_of_the_work_is_raised(steps):
    async def failing():
        await work(steps, 0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await to_the_end(failing())
