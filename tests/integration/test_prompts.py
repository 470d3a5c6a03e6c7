"""Managed prompts over real sockets: current for all who ask, there while the server is not, and gone when they are."""

import asyncio
import gc
import logging
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from blockbuster import blockbuster_ctx

from langchain_promptrun import (
    ChatPromptrun,
    PromptrunAuthenticationError,
    PromptrunNotFoundError,
    PromptrunPrompt,
)
from langchain_promptrun.testing import Fault

WAIT = 60
"""Seconds after which a test gives up; nothing here is slow unless it hangs."""
THREAD = "promptrun-prompt"


@pytest.fixture
def project(promptrun_server):
    project = promptrun_server.prompts.create("Essays")
    project.publish("Generate {{word_count}} words.", tags=["prod"], model="openai/gpt-4o", temperature=0.5)
    return project


@pytest.fixture(params=["httpx", "aiohttp"])
def make(request, project):
    """Makes prompts of the project, over either transport."""
    made = []

    def make(**fields):
        prompt = PromptrunPrompt(**{"project_id": project.id, "async_transport": request.param, **fields})
        made.append(weakref.ref(prompt))
        return prompt

    yield make
    # what runs behind must not meet a server that is closing
    for prompt in [found for reference in made if (found := reference()) is not None]:
        prompt.close()
    end = time.monotonic() + WAIT
    while threads():
        gc.collect()  # prompts of other tests
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture(params=["sync", "async"])
def colour(request):
    return request.param


async def pull(colour, prompt):
    return await (asyncio.to_thread(prompt.pull) if colour == "sync" else prompt.apull())


async def until(condition):
    """Wait until something holds, however slow the machine is."""
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "it did not come to hold"
        await asyncio.sleep(0.005)


def asked(server):
    """How often the prompt was asked for."""
    return sum(request.path == "/v1/prompt" for request in tuple(server.requests))


def threads():
    return [thread for thread in threading.enumerate() if thread.name == THREAD]


async def test_a_chain_sends_the_managed_text_before_the_conversation(promptrun_server, make, colour):
    chain = make(tag="prod") | ChatPromptrun(model="openai/gpt-4o")
    assert promptrun_server.requests == []
    value = {"word_count": 200, "messages": [("user", "Start with Queen Tamar.")]}
    answer = chain.invoke(value) if colour == "sync" else await chain.ainvoke(value)
    assert answer.text == "Hello! You said: Start with Queen Tamar."
    first, second = promptrun_server.requests
    assert (first.method, first.path, first.query["tag"]) == ("GET", "/v1/prompt", "prod")
    assert second.body["messages"] == [
        {"role": "system", "content": "Generate 200 words."},
        {"role": "user", "content": "Start with Queen Tamar."},
    ]


async def test_a_chain_streams(promptrun_server, make, colour):
    prompt = make(tag="prod")
    chain = prompt | prompt.chat_model(follow_model=True)
    value = {"word_count": 5, "messages": ["Hi."]}
    if colour == "sync":
        pieces = [chunk.text for chunk in chain.stream(value)]
    else:
        pieces = [chunk.text async for chunk in chain.astream(value)]
    assert len(pieces) > 2
    assert "".join(pieces) == "Hello! You said: Hi."
    assert promptrun_server.requests[-1].body["temperature"] == 0.5


async def test_callers_of_all_kinds_share_one_request(promptrun_server, make):
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
        records = [*await here, *[call.result(WAIT) for call in calls]]
        records += [record for loop in loops for record in loop.result(WAIT)]
    assert len(records) == 108
    assert {record.version for record in records} == {1}
    assert asked(promptrun_server) == 1


class TestErrors:
    async def test_an_unknown_project_tag_or_version_is_named(self, promptrun_server, project, make, colour):
        other = "00000000-0000-0000-0000-000000000000"
        for fields, said in [
            ({"tag": "staging"}, f"{project.id} (tag staging): The project has no tag `staging`."),
            ({"version": 99}, f"{project.id} (version 99): The project has no version 99."),
            ({"project_id": other}, f"{other} (tag latest): There is no such project."),
        ]:
            with pytest.raises(PromptrunNotFoundError) as caught:
                await pull(colour, make(**fields))
            assert said in str(caught.value)
        assert asked(promptrun_server) == 3

    async def test_a_wrong_key_is_said_and_not_shown(self, make, colour, caplog):
        caplog.set_level(logging.DEBUG)
        with pytest.raises(PromptrunAuthenticationError) as caught:
            await pull(colour, make(api_key="sk-wrong-key"))
        assert "sk-wrong-key" not in f"{caught.value!r} {caught.value} {caplog.text}"

    async def test_an_async_key_function_is_asked_on_the_fetching_thread(self, promptrun_server, make, colour):
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
    async def test_a_loop_may_wait_for_threads_that_want_what_it_has_begun_to_fetch(
        self, promptrun_server, make, colour
    ):
        hold = threading.Event()
        promptrun_server.prompts.queue(Fault(delay=hold))
        prompt = make(tag="prod")
        first = asyncio.create_task(prompt.apull())
        await until(lambda: asked(promptrun_server) == 1)
        get = prompt.pull if colour == "sync" else lambda: asyncio.run(prompt.apull())
        with ThreadPoolExecutor(2) as pool:
            calls = [pool.submit(get) for _ in range(2)]
            hold.set()
            assert [call.result(WAIT).version for call in calls] == [1, 1]  # blocks the loop
        assert (await first).version == 1

    async def test_nothing_blocks_the_event_loop(self, promptrun_server, make, tmp_path):
        with blockbuster_ctx():
            prompt = make(tag="prod", refresh=0, cache_dir=tmp_path)
            await prompt.ainvoke({"word_count": 1})
            await prompt.ainvoke({"word_count": 1})
            await until(lambda: asked(promptrun_server) == 2 and prompt._hold.entry.refresher._pending is None)
            assert await (await prompt.achat_model()).ainvoke("Hi.")

    @pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
    def test_a_fork_in_the_middle_of_a_request_works_on_both_sides(self, promptrun_server, make):
        hold = threading.Event()
        promptrun_server.prompts.queue(Fault(delay=hold))
        prompt = make(tag="prod")
        call = threading.Thread(target=prompt.pull, daemon=True)
        call.start()
        promptrun_server.wait_for_requests(1, WAIT)
        context = multiprocessing.get_context("fork")
        answers = context.SimpleQueue()
        child = context.Process(target=lambda: answers.put(prompt.pull().version))
        child.start()
        child.join(WAIT)
        assert (child.exitcode, answers.get()) == (0, 1)
        hold.set()
        call.join(WAIT)
        assert prompt.pull().version == 1

    def test_a_pickle_works_in_another_process(self, promptrun_server, make):
        prompt = make(tag="prod", fallback="x")
        prompt.pull()
        code = "import pickle, sys; print(pickle.loads(sys.stdin.buffer.read()).pull().version)"
        data = pickle.dumps(prompt)
        assert promptrun_server.api_key.encode() not in data
        run = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, timeout=WAIT, check=False)
        assert (run.returncode, run.stdout, run.stderr) == (0, b"1\n", b"")

    @pytest.mark.parametrize("ending", ["prompt.pull()", "asyncio.run(prompt.apull())"])
    def test_a_process_ends_at_once_and_quietly_while_a_request_runs_behind(self, promptrun_server, project, ending):
        promptrun_server.prompts.queue(Fault(), Fault(delay=threading.Event()))
        code = f"""
import asyncio
from langchain_promptrun import PromptrunPrompt
prompt = PromptrunPrompt(project_id={project.id!r}, refresh=0, max_retries=0)
prompt.pull()
print({ending}.version)
"""
        command = [sys.executable, "-X", "dev", "-c", code]
        run = subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=False)
        assert (run.returncode, run.stdout, run.stderr) == (0, "1\n", "")

    @pytest.mark.parametrize("ending", ["prompt.pull()", "asyncio.run(prompt.apull())"])
    def test_a_process_ends_while_the_name_of_the_host_is_looked_up(self, promptrun_server, project, ending):
        """Nothing can stop the look-up, which hangs here."""
        base_url = promptrun_server.base_url.replace("127.0.0.1", "localhost")
        code = f"""
import asyncio, socket, threading
from langchain_promptrun import PromptrunPrompt
prompt = PromptrunPrompt(project_id={project.id!r}, base_url={base_url!r}, max_retries=0)
begun = threading.Event()
def hang(*_, **__):
    begun.set()
    threading.Event().wait()
socket.getaddrinfo = hang
threading.Thread(target=lambda: {ending}, daemon=True).start()
begun.wait()
print(1)
"""
        command = [sys.executable, "-X", "dev", "-c", code]
        run = subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=False)
        assert (run.returncode, run.stdout, run.stderr) == (0, "1\n", "")


class Bot:
    """Holds a prompt that tells it of changes."""

    def __init__(self, make):
        self.prompt = make(tag="prod", refresh=0, max_retries=0, on_change=self.changed)

    def changed(self, old, new):
        """Nothing is done."""


class TestEnd:
    async def test_what_runs_behind_ends_with_the_owner_of_the_prompt(self, promptrun_server, make, colour):
        bot = Bot(make)
        await pull(colour, bot.prompt)
        promptrun_server.prompts.queue(Fault(delay=threading.Event()))
        await pull(colour, bot.prompt)
        await until(lambda: asked(promptrun_server) == 2)
        seen = weakref.ref(bot)
        del bot
        await until(lambda: gc.collect() >= 0 and seen() is None)
        await until(lambda: not threads())
        await asyncio.to_thread(promptrun_server.wait_for_disconnects, 1, WAIT)

    async def test_watching_ends_with_close_while_the_server_hangs(self, promptrun_server, make, colour):
        promptrun_server.prompts.queue(Fault(delay=threading.Event()))
        prompt = make(tag="prod")
        changes = prompt.watch() if colour == "sync" else prompt.awatch()

        async def awatch():
            return [change async for change in changes]

        watching = asyncio.create_task(asyncio.to_thread(list, changes) if colour == "sync" else awatch())
        await until(lambda: asked(promptrun_server) == 1)
        await (asyncio.to_thread(prompt.close) if colour == "sync" else prompt.aclose())
        assert await watching == []
        await asyncio.to_thread(promptrun_server.wait_for_disconnects, 1, WAIT)
        assert (await pull(colour, prompt)).version == 1


class TestPush:
    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch):
        monkeypatch.setattr("langchain_promptrun.prompts.push.RECONNECT", 0.05)

    def streams(self, server):
        return [request for request in tuple(server.requests) if request.path == "/v1/prompt/stream"]

    async def until_pushed(self, server, prompt):
        await until(lambda: any(request.in_flight for request in self.streams(server)))
        await until(lambda: prompt._hold.entry.refresher.freshness.is_pushed)

    async def test_push_stream_is_one_for_all_prompts_and_ends_with_them(self, promptrun_server, project, make, colour):
        prompts = [make(tag="prod", updates="push") for _ in range(20)]
        for prompt in prompts:
            assert (await pull(colour, prompt)).version == 1
        await self.until_pushed(promptrun_server, prompts[0])
        project.publish("Two.", tags=["prod"])
        await until(lambda: {prompt.known_record.version for prompt in prompts} == {2})
        project.edit(2, temperature=1)
        await until(lambda: {prompt.known_record.temperature for prompt in prompts} == {1})
        assert (len(self.streams(promptrun_server)), len(threads())) == (1, 1)
        prompts.clear()
        del prompt
        await until(lambda: gc.collect() >= 0 and not threads())
        (stream,) = self.streams(promptrun_server)
        await until(lambda: stream.disconnected)

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the server closes as one connects
    async def test_push_survives_restarts_of_the_server(self, promptrun_server, project, make, colour):
        prompt = make(tag="prod", updates="push", max_retries=0)
        await pull(colour, prompt)
        for number in range(3):
            await self.until_pushed(promptrun_server, prompt)
            await asyncio.to_thread(promptrun_server.close)
            assert (await pull(colour, prompt)).version == number + 1
            project.publish("More.", tags=["prod"])
            await asyncio.to_thread(promptrun_server.start)
            await until(lambda number=number: prompt.known_record.version == number + 2)

    async def test_push_auto_polls_a_server_without_the_route(self, promptrun_server, project, make, colour):
        promptrun_server.prompts.pushes = False
        prompt = make(tag="prod", updates="auto", refresh=0)
        await pull(colour, prompt)
        project.publish("Two.", tags=["prod"])
        await pull(colour, prompt)
        await until(lambda: prompt.known_record.version == 2)
        await until(lambda: len(self.streams(promptrun_server)) == 1)

    async def test_push_stream_ends_with_its_tag(self, promptrun_server, project, make, colour):
        prompt = make(tag="prod", updates="push")
        await pull(colour, prompt)
        await self.until_pushed(promptrun_server, prompt)
        project.untag("prod")
        await until(lambda: not prompt._hold.entry.refresher.freshness.is_pushed)
        assert (await pull(colour, prompt)).version == 1

    async def test_push_silent_stream_is_opened_again(self, promptrun_server, make, monkeypatch):
        monkeypatch.setattr("langchain_promptrun.prompts.push.STALL_LIMIT", 0.2)
        prompt = make(tag="prod", updates="push")
        await prompt.apull()
        await until(lambda: len(self.streams(promptrun_server)) > 2)
        assert (await prompt.apull()).version == 1

    @pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
    async def test_push_fork_has_a_stream_of_its_own(self, promptrun_server, project, make):
        prompt = make(tag="prod", updates="push")
        await prompt.apull()
        await self.until_pushed(promptrun_server, prompt)
        context = multiprocessing.get_context("fork")
        answers = context.SimpleQueue()

        def child():
            prompt.pull()
            while prompt.known_record.version == 1:
                time.sleep(0.01)
            answers.put(prompt.known_record.version)

        process = context.Process(target=child)
        process.start()
        await until(lambda: len(self.streams(promptrun_server)) == 2)
        project.publish("Two.", tags=["prod"])
        await asyncio.to_thread(process.join, WAIT)
        assert (process.exitcode, answers.get()) == (0, 2)
        await until(lambda: prompt.known_record.version == 2)


class TestCommandLine:
    def command(self, project, *argv):
        return [sys.executable, "-m", "langchain_promptrun", "prompt", project.id, *argv]

    def test_it_prints_the_rendered_text(self, project, promptrun_server):
        command = self.command(project, "--tag", "prod", "--var", "word_count=200")
        run = subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=False)
        assert (run.returncode, run.stdout) == (0, "Generate 200 words.\n")

    def test_ctrl_c_ends_the_watching(self, project, promptrun_server, press_ctrl_c):
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(self.command(project, "--watch"), env=environment, **pipes) as process:
            assert process.stdout.readline() == b"Generate {{word_count}} words.\n"
            # the facts are told before it begins to wait
            assert process.stderr.readline() == b"version: 1\n"
            press_ctrl_c(process)
            out, _ = process.communicate(timeout=WAIT)
        assert (process.returncode, out) == (130, b"")
