"""Claims of `_prompt_family`: what a prompt and its copies share."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

from langchain_promptrun.prompts.family import Family


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


def test_a_thousand_ways_of_asking_are_remembered():
    family = Family()
    leases = [family.lease(("p", number, {}), Made) for number in range(1000)]
    assert [family.find(("p", number, {})) for number in range(1000)] == leases


def test_those_used_least_recently_give_way():
    family = Family()
    leases = [family.lease((number,), Made) for number in range(1024)]
    assert family.find((0,)) is leases[0]
    assert family.lease((1,), Made) is leases[1]
    newest = family.lease((1024,), Made)
    assert [family.find((number,)) for number in (0, 1, 2, 129, 130, 1024)] == [
        *(leases[0], leases[1], None, None, leases[130], newest)
    ]


def test_parts_without_a_hash_tell_ways_of_asking_apart():
    family = Family()
    lease = family.lease(("p", {"x-a": "1"}), Made)
    assert family.find(("p", {"x-a": "2"})) is None
    assert family.find(("p", {"x-a": "1"})) is lease


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
