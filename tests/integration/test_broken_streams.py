"""A stream that fails in the middle: what had come stays in the trace, and the key is nowhere."""

from __future__ import annotations

import logging
import pickle
import traceback

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from langchain_promptrun import ChatPromptrun, PromptrunError
from langchain_promptrun.testing import Fault, PromptrunServer, Reply

KEY = "sk-sentinel-key"
CALL_HEADER = "sentinel-in-call-header"
TEXT = "Once upon a time there was a storm."
FAULTS = {
    # with a pause, as the end of a connection may overtake what was sent before it
    "cut": Fault(reply=Reply(TEXT), after=4, pause=0.7, cut=True),
    "reset": Fault(reply=Reply(TEXT), after=4, pause=0.7, reset=True),
    "error": Fault(reply=Reply(TEXT), after=4, error={"error": {"code": 502, "message": "Upstream gone."}}),
}
STALL = Fault(reply=Reply(TEXT), after=4, pause=60)
WAYS = [("stream", "httpx"), ("astream", "httpx"), ("astream", "aiohttp")]
EVENT_WAYS = [("events", "httpx"), ("aevents", "httpx"), ("aevents", "aiohttp")]


class Watcher(BaseCallbackHandler):
    """Keeps what callbacks are told of an error."""

    def __init__(self):
        self.told = []

    def on_llm_error(self, error, **kwargs):
        self.told.append((error, kwargs))


@pytest.fixture
def server():
    with PromptrunServer(api_key=KEY) as server:
        yield server


@pytest.fixture
def settings(server):
    return {"model": "openai/gpt-4o", "api_key": KEY, "base_url": server.base_url, "max_retries": 0}


async def failed(talk, settings, style, carrier, **options):
    """The error of a call whose stream fails."""
    async with ChatPromptrun(**settings, async_transport=carrier) as model:
        with pytest.raises(PromptrunError) as caught:
            await talk.call(style, model, "Hello", extra_headers={"X-Call": CALL_HEADER}, **options)
    return caught.value


@pytest.mark.parametrize("fault", [*FAULTS.values(), STALL], ids=[*FAULTS, "stall"])
@pytest.mark.parametrize(("style", "carrier"), WAYS)
async def test_partial_text_stays_in_the_trace_and_in_the_error(server, settings, talk, fault, style, carrier):
    watcher, collector = Watcher(), RunCollectorCallbackHandler()
    server.queue(fault)
    settings["stream_chunk_timeout"] = 1.0
    error = await failed(talk, settings, style, carrier, config={"callbacks": [watcher, collector]})
    [run] = collector.traced_runs
    [(told, facts)] = watcher.told
    assert told is error
    for text in (error.partial, run.outputs["generations"][0][0]["text"], facts["response"].generations[0][0].text):
        assert text.startswith("Once ")
        assert TEXT.startswith(text)
    assert type(error).__name__ in run.error


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize(("style", "carrier"), WAYS + EVENT_WAYS)
async def test_the_key_is_in_no_error_no_trace_and_no_log(server, settings, talk, name, style, carrier, caplog):
    caplog.set_level(logging.DEBUG)
    collector = RunCollectorCallbackHandler()
    server.queue(FAULTS[name])
    error = await failed(talk, settings, style, carrier, config={"callbacks": [collector]})
    assert server.requests[0].has_key(KEY)
    assert error.partial
    views = [str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error)), caplog.text]
    views += [repr(pickle.dumps(error)), *(run.model_dump_json() for run in collector.traced_runs)]
    views += [repr(vars(linked)) for linked in (error.__cause__, error.__context__) if linked is not None]
    for view in views:
        assert KEY not in view
        assert CALL_HEADER not in view
