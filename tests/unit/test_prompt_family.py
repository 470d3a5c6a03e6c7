"""Claims of `_prompt_family`: what a prompt and its copies share."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

from langchain_promptrun._prompt_family import Family


class Made:
    """Stands for a lease."""


def test_those_who_ask_in_the_same_way_share_a_lease():
    family = Family()
    lease = family.lease(("p", "prod"), Made)
    assert family.lease(("p", "prod"), Made) is lease
    assert family.find(("p", "prod")) is lease
    assert family.lease(("p", "dev"), Made) is not lease
    assert family.find(("p", "other")) is None


def test_threads_that_come_together_find_the_same():
    family, barrier = Family(), threading.Barrier(8)

    def make():
        barrier.wait(60)
        return Made()

    with ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(family.lease, ("p",), make) for _ in range(8)]
        assert len({id(call.result(60)) for call in calls}) == 1


def test_the_oldest_gives_way():
    family = Family()
    leases = [family.lease((number,), Made) for number in range(70)]
    assert family.find((0,)) is None
    assert family.find((69,)) is leases[69]


def test_copies_of_a_prompt_have_the_same_and_a_pickle_a_new_one():
    family = Family()
    lease = family.lease(("p",), Made)
    assert copy.deepcopy(family) is family
    again = pickle.loads(pickle.dumps(family))
    assert again.find(("p",)) is None
    assert family.find(("p",)) is lease


def test_it_does_not_tell_prompts_apart():
    assert Family() == Family()
    assert hash(Family()) == hash(Family())
    assert Family() != 5
