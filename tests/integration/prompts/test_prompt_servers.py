"""Managed prompts over real sockets: current for all who ask, there while the server is not, and gone when they are."""

import asyncio
import logging
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from blockbuster import blockbuster_ctx

from langchain_promptrun import PromptrunAuthenticationError, PromptrunPrompt
from langchain_promptrun.testing import Fault

from .promptwire import THREAD, WAIT, changes, close, pull, until


def asked(server):
    """How often the prompt was asked for."""
    return sum(request.path == "/v1/prompt" for request in tuple(server.requests))


async def test_prompt_in_a_chain_sends_its_text_before_the_conversation_and_streams(promptrun_server, make, colour):
    prompt = make(tag="prod")
    chain = prompt | prompt.chat_model(follow_model=True)
    assert promptrun_server.requests == []
    value = {"word_count": 200, "messages": [("user", "Start with Queen Tamar.")]}
    if colour == "sync":
        answer, pieces = chain.invoke(value), [chunk.text for chunk in chain.stream(value)]
    else:
        answer, pieces = await chain.ainvoke(value), [chunk.text async for chunk in chain.astream(value)]
    assert answer.text == "".join(pieces) == "Hello! You said: Start with Queen Tamar."
    assert len(pieces) > 2
    first, second, _ = promptrun_server.requests
    assert (first.method, first.path, first.query["tag"]) == ("GET", "/v1/prompt", "prod")
    assert (second.body["model"], second.body["temperature"]) == ("openai/gpt-4o", 0.5)
    assert second.body["messages"] == [
        {"role": "system", "content": "Generate 200 words."},
        {"role": "user", "content": "Start with Queen Tamar."},
    ]


async def test_prompt_first_request_is_shared_by_callers_of_all_kinds_and_needs_none_of_their_loops(
    promptrun_server, make
):
    hold = threading.Event()
    promptrun_server.prompts.queue(Fault(delay=hold))
    prompt = make(tag="prod")

    async def several():
        return await asyncio.gather(*[prompt.apull() for _ in range(20)])

    with ThreadPoolExecutor(12) as pool:
        loops = [pool.submit(asyncio.run, several()) for _ in range(4)]
        calls = [pool.submit(prompt.pull) for _ in range(8)]
        here = asyncio.create_task(several())
        await asyncio.to_thread(promptrun_server.wait_for_requests, 1, WAIT)
        hold.set()
        records = [call.result(WAIT) for call in calls]  # blocks the loop here
        records += [record for loop in loops for record in loop.result(WAIT)] + await here
    assert len(records) == 108
    assert {record.version for record in records} == {1}
    assert asked(promptrun_server) == 1


class TestErrors:
    async def test_prompt_wrong_key_is_said_and_not_shown(self, make, colour, caplog):
        caplog.set_level(logging.DEBUG)
        with pytest.raises(PromptrunAuthenticationError) as caught:
            await pull(colour, make(api_key="sk-wrong-key"))
        assert "sk-wrong-key" not in f"{caught.value!r} {caught.value} {caplog.text}"

    async def test_prompt_async_key_function_is_awaited_on_the_background_thread(self, promptrun_server, make, colour):
        names = []

        async def key():
            names.append(threading.current_thread().name)
            return promptrun_server.api_key

        prompt = make(api_key=key, refresh=0)
        await pull(colour, prompt)
        await pull(colour, prompt)
        await until(lambda: asked(promptrun_server) == 2)
        assert names == [THREAD] * 2


class TestLoopsAndProcesses:
    async def test_prompt_never_blocks_the_event_loop(self, promptrun_server, make, tmp_path):
        with blockbuster_ctx():
            prompt = make(tag="prod", refresh=0, cache_dir=tmp_path)
            await prompt.ainvoke({"word_count": 1})
            await prompt.ainvoke({"word_count": 1})
            await until(lambda: asked(promptrun_server) == 2 and prompt._hold.refresher._request is None)
            assert await (await prompt.achat_model()).ainvoke("Hi.")

    def test_prompt_pickle_works_in_another_process_which_ends_at_once_and_quietly(self, promptrun_server, project):
        """A request runs there to the end, and a look-up of a host, which nothing can stop."""
        promptrun_server.prompts.queue(Fault(), Fault(delay=threading.Event()))
        data = pickle.dumps(PromptrunPrompt(project_id=project.id, tag="prod", fallback="x", refresh=0, max_retries=0))
        assert promptrun_server.api_key.encode() not in data
        command = [sys.executable, "-W", "default", "-c", _ANOTHER_PROCESS]
        run = subprocess.run(command, input=data, capture_output=True, timeout=WAIT, check=False)
        assert (run.returncode, run.stdout, run.stderr) == (0, b"1 1 1\n", b"")


_ANOTHER_PROCESS = """
import asyncio, pickle, socket, sys, threading
prompt = pickle.load(sys.stdin.buffer)
print(prompt.pull().version, prompt.pull().version, asyncio.run(prompt.apull()).version)
begun = threading.Event()
def hang(*_, **__):
    begun.set()
    threading.Event().wait()
socket.getaddrinfo = hang
other = prompt.model_copy(update={"base_url": "http://localhost:9/v1"})
threading.Thread(target=other.pull, daemon=True).start()
begun.wait()
"""


async def test_prompt_watch_ends_with_close_while_the_server_hangs(promptrun_server, make, colour):
    promptrun_server.prompts.queue(Fault(delay=threading.Event()))
    prompt = make(tag="prod")
    watching = asyncio.create_task(anext(changes(colour, prompt), None))
    await until(lambda: asked(promptrun_server) == 1)
    await close(colour, prompt)
    assert await watching is None
    await asyncio.to_thread(promptrun_server.wait_for_disconnects, 1, WAIT)
    assert (await pull(colour, prompt)).version == 1
