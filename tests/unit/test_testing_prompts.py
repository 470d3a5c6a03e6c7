import pytest

from langchain_promptrun.testing import Fault, ManagedPrompts
from langchain_promptrun.testing._checks import RefusedError


@pytest.fixture
def prompts():
    return ManagedPrompts()


@pytest.fixture
def project(prompts):
    made = prompts.create("Essays")
    made.publish("One {{x}}.", tags=["prod"])
    made.publish("Two.", message="shorter", temperature=0.5, model="openai/gpt-4o", tags=["dev"])
    return made


def asked(prompts, project, **query):
    return prompts.find({"projectId": project.id, **query})


def refused(prompts, query):
    with pytest.raises(RefusedError) as caught:
        prompts.find(query)
    return caught.value.status, caught.value.message


def test_a_record_has_the_documented_keys(prompts, project):
    record = asked(prompts, project, version="2")
    assert record["project"] == {"id": project.id, "name": "Essays"}
    assert (record["prompt"], record["version"], record["versionMessage"]) == ("Two.", 2, "shorter")
    assert record["updatedAt"] == "2025-07-21T04:17:41.294Z"
    assert (record["temperature"], record["model"]["model"]) == (0.5, "openai/gpt-4o")
    assert "tag" not in record


def test_a_tag_finds_its_version_and_latest_the_newest(prompts, project):
    assert asked(prompts, project, tag="prod")["version"] == 1
    assert asked(prompts, project, tag="prod")["tag"] == "prod"
    assert asked(prompts, project, tag="latest")["version"] == 2
    assert asked(prompts, project)["version"] == project.newest == 2


def test_tags_move_and_go(prompts, project):
    project.tag("prod", 2)
    assert asked(prompts, project, tag="prod")["version"] == 2
    project.tag("latest", 1)
    assert asked(prompts, project, tag="latest")["version"] == 1
    project.untag("prod")
    assert refused(prompts, {"projectId": project.id, "tag": "prod"}) == (404, "The project has no tag `prod`.")


def test_an_edit_changes_a_version_in_place(prompts, project):
    before = asked(prompts, project, version="1")
    project.edit(1, prompt="Changed.", model={"model": "x/y"})
    after = asked(prompts, project, version="1")
    assert (after["prompt"], after["model"]) == ("Changed.", {"model": "x/y"})
    assert after["updatedAt"] > before["updatedAt"]
    assert before["prompt"] == "One {{x}}."


def test_edits_of_what_is_not_there_are_errors(project):
    for edit in (lambda: project.edit(9, prompt="x"), lambda: project.tag("prod", 9), lambda: project.untag("none")):
        with pytest.raises(KeyError):
            edit()


def test_a_model_without_a_vendor_keeps_its_name(project):
    project.publish("Three.", model="local")
    assert project.record()["model"]["name"] == "local"


def test_version_and_tag_exclude_one_another(prompts, project):
    query = {"projectId": project.id, "version": "1", "tag": "prod"}
    assert refused(prompts, query) == (400, "You must provide either `version` or `tag`, but not both.")


@pytest.mark.parametrize("query", [{}, {"projectId": "essays"}])
def test_the_project_must_be_named_by_a_uuid(prompts, query):
    assert refused(prompts, query)[0] == 400


def test_a_version_is_a_number(prompts, project):
    assert refused(prompts, {"projectId": project.id, "version": "newest"})[0] == 400


def test_what_is_not_there_is_not_found(prompts, project):
    assert refused(prompts, {"projectId": project.id, "version": "3"}) == (404, "The project has no version 3.")
    empty = prompts.create("Empty", project_id="D0D52C6E-85BA-4025-A84C-3C99834FE2AC")
    assert refused(prompts, {"projectId": empty.id})[0] == 404
    prompts.delete(project)
    assert refused(prompts, {"projectId": project.id}) == (404, "There is no such project.")


def test_a_projects_id_must_be_a_uuid(prompts):
    with pytest.raises(ValueError, match="UUID"):
        prompts.create("x", project_id="essays")


def test_faults_are_queued_by_request(prompts):
    prompts.queue(Fault(status=500, times=2), Fault(status=429))
    assert [fault.status for fault in prompts.faults] == [500, 500, 429]
