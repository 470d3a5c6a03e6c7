"""Records of managed prompts: what is read of GET /prompt, and what counts as a change."""

import json

import pytest
from pydantic.alias_generators import to_camel

from langchain_promptrun import PromptrunAuthenticationError, PromptrunResponseError
from langchain_promptrun.errors import PromptrunStreamTruncatedError
from langchain_promptrun.prompts.record import PromptRecord, RecordReader, read_record

DOCUMENTED = {
    "updatedAt": "2025-07-21T04:17:39.294Z",
    "prompt": "Generate {{word_count}} words essay about Georgian History.",
    "version": 27,
    "versionMessage": "I have updated the prompt",
    "tag": "latest",
    "project": {"id": "d0d52c6e-85ba-4025-a84c-3c99834fe2ac", "name": "Georgian History Essay Generator"},
}
KNOWN_TO_THE_SDK = {
    "id": "p1",
    "createdAt": "2025-07-20T00:00:00.000Z",
    "temperature": 0.5,
    "user": {"id": "u1", "clerkId": "c1"},
    "model": {"name": "GPT-4o", "provider": "openai", "model": "openai/gpt-4o", "icon": "openai"},
    "inputs": [{"name": "word_count", "value": "200"}],
}


def read(document):
    return read_record(json.dumps(document).encode())


def test_prompt_record_has_the_documented_fields():
    record = read(DOCUMENTED)
    assert (record.version, record.version_message, record.tag) == (27, "I have updated the prompt", "latest")
    assert record.prompt == DOCUMENTED["prompt"]
    assert record.updated_at.isoformat() == "2025-07-21T04:17:39.294000+00:00"
    assert (record.project.id, record.project.name) == tuple(DOCUMENTED["project"].values())
    assert (record.model, record.temperature, record.id, record.user, record.created_at, record.inputs) == (None,) * 6
    assert record.variables == ("word_count",)
    assert not record.is_fallback


def test_prompt_record_has_the_fields_of_the_sdk():
    record = read(DOCUMENTED | KNOWN_TO_THE_SDK)
    assert (record.model.model, record.model.name, record.model.provider) == ("openai/gpt-4o", "GPT-4o", "openai")
    assert (record.model.icon, record.temperature, record.id) == ("openai", 0.5, "p1")
    assert (record.user, record.inputs) == (KNOWN_TO_THE_SDK["user"], KNOWN_TO_THE_SDK["inputs"])
    assert record.created_at.day == 20
    assert read(DOCUMENTED | {"model": "openai/gpt-4o"}).model.model == "openai/gpt-4o"


def test_prompt_record_needs_only_text_and_version():
    nulls = dict.fromkeys(["updatedAt", "versionMessage", "project", "tag", "temperature", "model", "user", "inputs"])
    assert read({"prompt": "", "version": 1}) == PromptRecord(prompt="", version=1)
    assert read({"prompt": "x", "version": 1} | nulls).project is None


def test_prompt_record_goes_out_as_it_came_with_unknown_fields():
    document = DOCUMENTED | KNOWN_TO_THE_SDK | {"labels": ["a"], "model": {"model": "v/m", "size": 5}}
    record = read(document)
    assert (record.model_extra, record.model.model_extra) == ({"labels": ["a"]}, {"size": 5})
    assert read_record(record.to_wire()) == record
    assert json.loads(record.to_wire()).keys() == document.keys()


@pytest.mark.parametrize(
    ("change", "matters"),
    [
        *(({name: value}, True) for name, value in (("version", 28), ("prompt", "x"), ("tag", "prod"))),
        *(
            ({"temperature": 0.6}, True),
            ({"model": {"model": "v/m"}}, True),
            ({"updatedAt": "2025-07-22T04:17Z"}, True),
        ),
        ({"versionMessage": "other", "user": {}, "labels": ["b"], "project": {"id": "x"}}, False),
    ],
)
def test_prompt_record_change_of_what_matters_is_a_change(change, matters):
    record = DOCUMENTED | KNOWN_TO_THE_SDK
    assert read(record).differs(read(record | change)) is matters


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("temperature", "hot"), ("updatedAt", "yesterday"), ("createdAt", {}), ("id", 7), ("tag", ["prod"])),
        *(("versionMessage", 5), ("project", {"id": 5}), ("project", "Essays"), ("model", ["v/m", "v/n"])),
    ],
)
def test_prompt_record_odd_field_is_none_and_kept_among_the_unknown(name, value):
    document = DOCUMENTED | {name: value, "labels": []}
    record = read(document)
    assert (record.version, record.prompt) == (27, DOCUMENTED["prompt"])
    field = {to_camel(field): field for field in PromptRecord.model_fields}[name]
    assert getattr(record, field) is None
    assert record.model_extra == {"labels": [], name: value}
    assert json.loads(record.to_wire())[name] == value
    assert read_record(record.to_wire()) == record


@pytest.mark.parametrize("name", ["temperature", "updatedAt", "tag", "model"])
def test_prompt_record_change_of_an_odd_field_is_a_change(name):
    one, same, other = (read(DOCUMENTED | {name: [number]}) for number in (1, 1, 2))
    assert (one.differs(other), one.differs(same)) == (True, False)


@pytest.mark.parametrize("document", [[], "x", {"prompt": {"secret": 1}, "version": 1}, {"prompt": "x"}])
def test_prompt_record_of_another_shape_is_an_error_that_names_the_field(document):
    with pytest.raises(PromptrunResponseError, match=r"not a prompt: (prompt|version|Input)") as caught:
        read(document)
    assert "secret" not in str(caught.value)


def test_prompt_record_error_in_a_200_body_is_raised_as_what_it_is():
    with pytest.raises(PromptrunAuthenticationError, match="bad key"):
        read({"error": {"message": "bad key", "code": 401}})


def test_prompt_record_body_that_is_empty_or_a_stream_is_an_error():
    with pytest.raises(PromptrunStreamTruncatedError):
        RecordReader(200, {}, limit=1000).close()
    events = RecordReader(200, {"content-type": "text/event-stream"}, limit=1000)
    events.feed(b"data: {}\n\n")
    with pytest.raises(PromptrunResponseError, match="stream of events"):
        events.close()
