"""Claims of `_prompt_disk`: the last good records on disk."""

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from langchain_promptrun.prompts.record import PromptModel, PromptRecord
from langchain_promptrun.prompts.storage import RecordFile

RECORD = PromptRecord(prompt="One {{x}}.", version=3, tag="prod", model=PromptModel(model="v/m"), temperature=0.5)
QUERY = {"projectId": "p", "tag": "prod"}
URL = "https://h/v1"


@pytest.fixture
def shelf(tmp_path):
    return RecordFile(str(tmp_path / "deep" / "folder"), URL, QUERY)


def files(shelf):
    return sorted(path.name for path in shelf.path.parent.iterdir())


def test_a_record_comes_back(shelf):
    shelf.write(RECORD)
    assert shelf.read() == RECORD
    assert files(shelf) == [shelf.path.name]


def test_only_the_owner_may_read_it(shelf):
    old = os.umask(0)
    try:
        shelf.write(RECORD)
    finally:
        os.umask(old)
    assert stat.S_IMODE(shelf.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(shelf.path.parent.stat().st_mode) == 0o700


def test_the_file_holds_promptruns_own_spelling(shelf):
    shelf.write(RECORD)
    assert json.loads(shelf.path.read_bytes()) == {
        "prompt": "One {{x}}.",
        "version": 3,
        "tag": "prod",
        "model": {"model": "v/m"},
        "temperature": 0.5,
    }


@pytest.mark.parametrize(
    ("url", "query"),
    [
        ("https://other/v1", QUERY),
        (URL, {"projectId": "q", "tag": "prod"}),
        (URL, {"projectId": "p", "tag": "dev"}),
        (URL, {"projectId": "p", "version": 3}),
    ],
)
def test_each_address_project_tag_and_version_has_its_own_file(tmp_path, shelf, url, query):
    assert RecordFile(str(tmp_path), url, query).path.name != shelf.path.name


def test_the_same_prompt_has_the_same_file_in_each_process(tmp_path):
    assert (
        RecordFile(str(tmp_path), URL, QUERY).path == RecordFile(str(tmp_path), URL, dict(reversed(QUERY.items()))).path
    )


def test_what_is_there_is_not_written_again(shelf):
    shelf.write(RECORD)
    first = shelf.path.stat().st_ino
    shelf.write(RECORD)
    assert shelf.path.stat().st_ino == first
    shelf.write(RECORD.model_copy(update={"version": 4}))
    assert shelf.read().version == 4


def test_a_file_that_somebody_removed_is_written_again(shelf):
    shelf.write(RECORD)
    shutil.rmtree(shelf.path.parent)
    shelf.write(RECORD)
    assert shelf.read() == RECORD


def test_a_folder_may_begin_with_the_users_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    RecordFile("~/prompts", URL, QUERY).write(RECORD)
    assert len(list((tmp_path / "prompts").iterdir())) == 1


def test_a_tilde_without_such_a_user_is_a_name_like_any_other():
    assert RecordFile("~no such user/x", URL, QUERY).path.parent == Path("~no such user/x")


def test_a_write_that_fails_leaves_the_old_file_and_no_other(shelf, monkeypatch):
    shelf.write(RECORD)

    def full(_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        shelf.write(RECORD.model_copy(update={"version": 4}))
    assert shelf.read() == RECORD
    assert files(shelf) == [shelf.path.name]


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"prompt": "x"}'])
def test_a_file_that_is_missing_or_no_record_is_none(shelf, content):
    if content is not None:
        shelf.write(RECORD)
        shelf.path.write_bytes(content)
    assert shelf.read() is None


def test_a_file_that_cannot_be_read_raises(shelf):
    shelf.path.mkdir(parents=True)
    with pytest.raises(OSError, match=Path(shelf.path).name):
        shelf.read()
