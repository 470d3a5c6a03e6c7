"""The key and other secrets go to one place, and are seen nowhere else."""

import logging

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumps
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from langchain_promptrun import ChatPromptrun, PromptrunError
from langchain_promptrun.testing import Fault

KEY = "sk-sentinel-key"
HEADER = "sentinel-in-default-header"
CALL_HEADER = "sentinel-in-call-header"
OF_A_CALL = {"extra_headers": {"X-Call": CALL_HEADER}}


@pytest.fixture
def model(promptrun_server):
    promptrun_server.api_key = KEY
    fields = {"default_headers": {"X-Secret": HEADER}, "include_response_headers": True, "max_retries": 0}
    return ChatPromptrun(model="openai/gpt-4o", api_key=KEY, **fields)


def assert_clean(*texts):
    assert [secret for secret in (KEY, HEADER, CALL_HEADER) if secret in "".join(texts)] == []


class Recorder(BaseCallbackHandler):
    def __init__(self):
        self.told = []

    def record(self, *told, **more):
        self.told.append(repr((told, [vars(it) for it in told if isinstance(it, Exception)], more)))

    on_chat_model_start = on_llm_end = on_llm_error = record


def test_secrets_reach_the_server_and_are_in_no_view_of_the_model_and_no_log(model, promptrun_server, caplog):
    caplog.set_level(logging.DEBUG)
    model.invoke("Hello", **OF_A_CALL)
    list(model.stream("Hello"))
    request = promptrun_server.requests[0]
    assert request.has_key(KEY)
    assert (request.headers["x-secret"], request.headers["x-call"]) == (HEADER, CALL_HEADER)
    assert_clean(repr(model), str(model), repr(model.model_dump()), dumps(model), repr(model._identifying_params))
    assert_clean(repr(model._get_invocation_params(**OF_A_CALL, api_key=KEY)))
    assert_clean(model._get_llm_string(**OF_A_CALL, api_key=KEY), caplog.text)


def test_secrets_are_in_no_trace_and_no_callback(model, promptrun_server):
    recorder, collector = Recorder(), RunCollectorCallbackHandler()
    config = {"callbacks": [recorder, collector]}
    model.invoke("Hello", config, **OF_A_CALL)
    list(model.stream("Hello", config, **OF_A_CALL))
    promptrun_server.queue(Fault(status=400, body={"error": {"message": "Bad."}}))
    with pytest.raises(PromptrunError):
        model.invoke("Hello", config, **OF_A_CALL)
    assert len(recorder.told) == 6
    assert_clean(*recorder.told, *(run.model_dump_json() for run in collector.traced_runs))


def test_plain_http_beyond_loopback_warns_once(model, caplog):
    model.base_url = "http://elsewhere.invalid/v1"
    for _ in range(2):
        with pytest.raises(PromptrunError):
            model.invoke("Hello")
    (warning,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    assert "elsewhere.invalid" in warning.getMessage()
    assert_clean(caplog.text)
