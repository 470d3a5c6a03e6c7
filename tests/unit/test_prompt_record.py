"""Claims of `_prompt_record`: what is read of GET /prompt, and what counts as a change."""

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
}


def read(document):
    return read_record(json.dumps(document).encode())


def test_the_documented_fields_are_read():
    record = read(DOCUMENTED)
    assert (record.version, record.version_message, record.tag) == (27, "I have updated the prompt", "latest")
    assert record.prompt == DOCUMENTED["prompt"]
    assert record.updated_at.isoformat() == "2025-07-21T04:17:39.294000+00:00"
    assert (record.project.id, record.project.name) == tuple(DOCUMENTED["project"].values())
    assert (record.model, record.temperature, record.id, record.user, record.created_at) == (None,) * 5
    assert record.variables == ("word_count",)
    assert not record.is_fallback


def test_the_fields_of_the_sdk_are_read():
    record = read(DOCUMENTED | KNOWN_TO_THE_SDK)
    assert (record.model.model, record.model.name, record.model.provider) == ("openai/gpt-4o", "GPT-4o", "openai")
    assert (record.model.icon, record.temperature, record.id) == ("openai", 0.5, "p1")
    assert record.user == {"id": "u1", "clerkId": "c1"}
    assert record.created_at.day == 20


def test_unknown_fields_are_kept():
    record = read(DOCUMENTED | {"labels": ["a"], "model": {"model": "v/m", "size": 5}})
    assert record.model_extra == {"labels": ["a"]}
    assert record.model.model_extra == {"size": 5}


def test_only_text_and_version_are_needed():
    nulls = dict.fromkeys(["updatedAt", "versionMessage", "project", "tag", "temperature", "model", "user"])
    assert read({"prompt": "", "version": 1}) == PromptRecord(prompt="", version=1)
    assert read({"prompt": "x", "version": 1} | nulls).project is None


def test_a_model_may_be_its_id_alone():
    assert read(DOCUMENTED | {"model": "openai/gpt-4o"}).model.model == "openai/gpt-4o"


def test_a_record_goes_out_as_it_came():
    document = DOCUMENTED | KNOWN_TO_THE_SDK | {"labels": ["a"]}
    record = read(document)
    assert read_record(record.to_wire()) == record
    assert json.loads(record.to_wire()).keys() == document.keys()


@pytest.mark.parametrize(
    "change",
    [
        {"version": 28},
        {"prompt": "x"},
        {"tag": "prod"},
        {"temperature": 0.6},
        {"model": {"model": "v/m"}},
        {"updatedAt": "2025-07-22T04:17:39.294Z"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_these_make_a_change(change):
    assert read(DOCUMENTED | KNOWN_TO_THE_SDK).differs(read(DOCUMENTED | KNOWN_TO_THE_SDK | change))


def test_the_rest_makes_none():
    other = DOCUMENTED | {"versionMessage": "other", "user": {}, "labels": ["b"], "project": {"id": "x"}}
    assert not read(DOCUMENTED).differs(read(other))


class TestOddFields:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("temperature", "hot"), ("updatedAt", "yesterday"), ("createdAt", {}), ("id", 7), ("tag", ["prod"])),
            *(("versionMessage", 5), ("project", {"id": 5}), ("project", "Essays"), ("model", ["v/m", "v/n"])),
        ],
    )
    def test_what_is_not_needed_and_not_as_it_should_be_is_none_and_stands_among_the_unknown(self, name, value):
        record = read(DOCUMENTED | {name: value, "labels": []})
        assert (record.version, record.prompt) == (27, DOCUMENTED["prompt"])
        field = {to_camel(field): field for field in PromptRecord.model_fields}[name]
        assert getattr(record, field) is None
        assert record.model_extra == {"labels": [], name: value}

    def test_it_goes_out_as_it_came(self):
        document = DOCUMENTED | {"temperature": "hot", "tag": ["prod"]}
        record = read(document)
        assert json.loads(record.to_wire()) == document | {"updatedAt": "2025-07-21T04:17:39.294000Z"}
        assert read_record(record.to_wire()) == record

    @pytest.mark.parametrize("name", ["temperature", "updatedAt", "tag", "model"])
    def test_its_change_is_a_change(self, name):
        one, other = (read(DOCUMENTED | {name: [number]}) for number in (1, 2))
        assert one.differs(other)
        assert not one.differs(read(DOCUMENTED | {name: [1]}))


class TestWhatIsNoPrompt:
    @pytest.mark.parametrize("document", [[], "x", {"prompt": 5, "version": 1}, {"prompt": "x"}])
    def test_another_shape(self, document):
        with pytest.raises(PromptrunResponseError, match="not a prompt"):
            read(document)

    def test_the_error_names_the_field_and_not_its_value(self):
        with pytest.raises(PromptrunResponseError) as caught:
            read({"prompt": {"secret": 1}, "version": 1})
        assert "prompt: " in str(caught.value)
        assert "secret" not in str(caught.value)

    def test_an_error_in_a_200_body_is_raised_as_what_it_is(self):
        with pytest.raises(PromptrunAuthenticationError, match="bad key"):
            read({"error": {"message": "bad key", "code": 401}})


class TestReader:
    def reader(self, limit=1000, **headers):
        return RecordReader(200, headers, max_event_bytes=limit)

    def test_it_reads_a_body_cut_anywhere(self):
        body = json.dumps(DOCUMENTED).encode()
        for cut in range(len(body)):
            reader = self.reader()
            assert [*reader.feed(body[:cut]), *reader.feed(body[cut:])] == []
            assert reader.close() == (read(DOCUMENTED),)

    def test_a_body_beyond_the_limit_raises(self):
        with pytest.raises(PromptrunResponseError, match="larger than 10 bytes"):
            self.reader(10).feed(b'{"prompt": "x"}')

    def test_an_empty_body_raises(self):
        with pytest.raises(PromptrunStreamTruncatedError):
            self.reader().close()

    def test_a_stream_of_events_raises(self):
        reader = self.reader(**{"content-type": "text/event-stream"})
        reader.feed(b"data: {}\n\n")
        with pytest.raises(PromptrunResponseError, match="stream of events"):
            reader.close()
