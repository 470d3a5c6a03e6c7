import pytest

from langchain_promptrun.testing import Fault, Reply


@pytest.mark.parametrize("item", [Reply, Fault])
def test_an_item_is_meant_for_at_least_one_request(item):
    with pytest.raises(ValueError, match="times must be 1 or more, not 0"):
        item(times=0)


def test_the_pieces_of_a_reply_must_add_up():
    assert Reply("ab", pieces=["a", "b"]).pieces == ["a", "b"]
    with pytest.raises(ValueError, match="add up"):
        Reply("ab", pieces=["a"])


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"body": b"x", "events": []}, "body, events, slices, reply"),
        ({"slices": [], "reply": Reply("x")}, "body, events, slices, reply"),
        ({"after": 0, "after_bytes": 0}, "after, after_bytes"),
        ({"cut": "clean", "reset": True}, "cut, reset"),
    ],
)
def test_parts_of_a_fault_that_exclude_one_another_are_refused(parts, named):
    with pytest.raises(ValueError, match=f"takes one of {named}"):
        Fault(**parts)


def test_raw_framing_needs_the_bytes_of_the_response():
    with pytest.raises(ValueError, match="slices"):
        Fault(framing="raw")


@pytest.mark.parametrize("parts", [{"encoding": "gzip"}, {"comments": 1.0}])
def test_a_length_cannot_be_told_before_it_is_known(parts):
    with pytest.raises(ValueError, match="framing='length'"):
        Fault(framing="length", **parts)
