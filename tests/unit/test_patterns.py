"""Models restored from patterns: no different from those that their constructors make."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage
from pydantic import BaseModel, ConfigDict, PrivateAttr

from langchain_promptrun._responses.patterns import Pattern


class Plain(BaseModel):
    name: str = "n"
    things: list[int] = []
    facts: dict[str, int] = {}


class Rich(Plain):
    model_config = ConfigDict(extra="allow")
    _memory: list[int] = PrivateAttr(default_factory=list)


@pytest.mark.parametrize("kind", [Plain, Rich])
def test_restored_model_is_as_constructed(kind):
    restored = Pattern(kind(), "name").restore(name="x")
    assert restored == kind(name="x")
    assert repr(restored) == repr(kind(name="x"))
    assert restored.model_fields_set == {"name"}
    assert list(vars(restored)) == list(vars(kind(name="x")))


def test_no_two_models_share_what_can_be_changed():
    pattern = Pattern(Rich())
    one, other = pattern.restore(), pattern.restore()
    one.things.append(1)
    one.facts["x"] = 1
    one.name = "y"
    one.extra = 1
    one._memory = [1]
    assert other == Rich()
    assert pattern.restore() == Rich()
    assert other.model_fields_set == set()
    assert other.model_extra == {}
    assert other._memory == []


def test_message_of_langchain_core_can_be_restored():
    fields = {"content": "x", "additional_kwargs": {"a": 1}, "response_metadata": {"b": 2}}
    message = Pattern(AIMessage(""), *fields).restore(**fields)
    assert message == AIMessage(**fields)
    assert message.additional_kwargs is fields["additional_kwargs"]
