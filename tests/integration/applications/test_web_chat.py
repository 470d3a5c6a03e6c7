"""The web chat in a real browser: it streams, shows, stops, tries again and remembers, and is accessible."""

import base64
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from unittest.mock import MagicMock

import pytest

from langchain_promptrun.testing import Fault, Reply

from .conftest import EXAMPLES, WAIT, environment, held

try:
    from axe_selenium_python import Axe
    from selenium import webdriver
    from selenium.common import StaleElementReferenceException
    from selenium.webdriver.support.wait import WebDriverWait
except ModuleNotFoundError:
    webdriver = None

PROGRAM = EXAMPLES / "web_chat.py"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==")
MARKDOWN = "# Numbers\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n```python\nprint(1)\n```\n\n[more](https://example.com)"


@contextmanager
def started(server):
    """The program in a process of its own, and the URL that it prints."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, PROGRAM, "--port", "0"]
    with subprocess.Popen(command, env=environment(server), **pipes) as process:
        try:
            yield process, re.match(r"web chat at (\S+) ", process.stdout.readline())[1]
        finally:
            process.kill()


@pytest.fixture(scope="module")
def url(model_server):
    """Where the chat of all tests is."""
    with started(model_server) as (_, url):
        yield url


@pytest.fixture
def server(model_server):
    model_server.clear()
    return model_server


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """A browser without a screen. Only where one must be there is its absence a failure."""
    found = {
        "a browser": BROWSER,
        "chromedriver": shutil.which("chromedriver"),
        "selenium and axe": webdriver,
        "gradio": find_spec("gradio"),
    }
    if missing := [name for name, there in found.items() if not there]:
        (pytest.fail if "PROMPTRUN_REQUIRE_BROWSER" in os.environ else pytest.skip)(f"not found: {', '.join(missing)}")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    quiet = ("background-networking", "component-update", "sync", "dev-shm-usage", "gpu", "quic")
    for flag in ("headless=new", "no-sandbox", "no-first-run", *(f"disable-{name}" for name in quiet)):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    driver = webdriver.Chrome(options, webdriver.ChromeService(found["chromedriver"]))
    yield driver
    driver.quit()


class Page:
    def __init__(self, driver, url, *, width=1100, scheme="light"):
        self.driver = driver
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(url)
        driver.execute_script("localStorage.clear()")
        driver.get(url)

    def until(self, condition):
        ignored = [StaleElementReferenceException]
        return WebDriverWait(self.driver, WAIT, 0.05, ignored).until(lambda _: condition())

    def all(self, selector):
        return [element for element in self.driver.find_elements("css selector", selector) if element.is_displayed()]

    def click(self, selector):
        self.until(lambda: self.all(selector))[-1].click()

    def ask(self, text):
        self.until(lambda: self.all("textarea[aria-label=Message]:enabled"))[0].send_keys(f"{text}\n")

    def said(self, role="bot"):
        return [element.text for element in self.all(f"[data-testid={role}]")]

    def until_said(self, text):
        """Wait for a message that holds a text; return the messages."""
        return self.until(lambda: text in "\n".join(said := self.said()) and said)


@pytest.fixture
def page(url, server, chromium):
    return Page(chromium, url)


def sent(server, number=-1):
    return [(message["role"], message["content"]) for message in server.requests[number].body["messages"]]


def test_web_chat_answer_streams_and_its_facts_come_last(page, server):
    release, answer = held("One ", "two.")
    server.queue(answer)
    page.ask("Count.")
    page.until_said("One")
    assert not server.requests[0].answered
    release.set()
    assert page.until_said("tokens") == ["One two.", "tokens: 26 in, 2 out · $0.028"]


def test_web_chat_stop_and_leaving_the_page_close_the_request_to_the_model_and_the_chat_goes_on(page, server):
    answers = [held("One ", "two.")[1] for _ in range(2)]
    server.queue(answers[0], "On.", answers[1])
    page.ask("Count.")
    page.until_said("One")
    page.click(".stop-button")
    server.wait_for_disconnects(1, WAIT)
    page.ask("Go on.")
    page.until_said("On.")
    assert sent(server) == [("user", "Count."), ("assistant", "One "), ("user", "Go on.")]
    page.ask("Count again.")
    page.until(lambda: page.said()[-1] == "One")
    page.driver.get("about:blank")
    assert [request.answered for request in server.wait_for_disconnects(2, WAIT)] == [False, False]


def test_web_chat_error_is_a_message_that_is_not_sent_to_the_model_and_retry_asks_again(page, server):
    expired = Fault(status=401, body={"error": "The API key has expired."})
    server.queue(Fault(status=500, body={"error": "Out of order."}, times=3), "Now it works.", expired, "And on.")
    page.ask("Count.")
    page.until_said("Try again with the round arrow")
    page.click("[aria-label=Retry]")
    assert "Out of order" not in "".join(page.until_said("Now it works."))
    assert sent(server) == [("user", "Count.")]
    page.ask("And?")
    page.until_said("The API key has expired.")
    page.ask("And now?")
    page.until_said("And on.")
    assert [text for _, text in sent(server)] == ["Count.", "Now it works.", "And?", "And now?"]


def test_web_chat_reasoning_is_folded_and_opens_and_an_answer_without_text_says_why(page, server):
    server.queue(Reply("They have 56.", reasoning="Seven times eight."), Reply("", finish_reason="length"))
    page.ask("How many legs?")
    page.until_said("tokens")
    assert "Seven times eight." not in page.driver.find_element("tag name", "body").text
    page.click(".thought-group [role=button]")
    page.until(lambda: "Seven times eight." in page.driver.find_element("tag name", "body").text)
    page.ask("Count.")
    page.until_said("The model gave no answer (finish reason: length).")


def test_web_chat_tool_call_runs_and_is_shown(page, server):
    call = {"name": "tell_time", "args": {"timezone": "Asia/Tbilisi"}}
    server.queue(Reply(tool_calls=[call]), "It is late.")
    page.ask("What time is it?")
    assert "tell_time(Asia/Tbilisi)" in "".join(page.until_said("It is late."))
    (*_, (role, result)) = sent(server)
    assert role == "tool"
    assert re.fullmatch(r"\d\d:\d\d", result)


def test_web_chat_model_system_prompt_and_tools_can_be_chosen(page, server):
    page.click(".label-wrap")
    model = page.until(lambda: page.all("input[aria-label=Model]"))[0]
    model.send_keys("\b" * 60 + "openai/gpt-5\t")
    page.all("textarea[data-testid=textbox]:not(.no-label)")[0].send_keys("Be brief.")
    page.click("input[type=checkbox]")
    page.ask("Hello")
    page.until_said("tokens")
    body = server.requests[-1].body
    assert (body["model"], "tools" in body) == ("openai/gpt-5", False)
    assert sent(server) == [("system", "Be brief."), ("user", "Hello")]


def test_web_chat_image_is_sent_with_its_question_and_again_with_the_next(page, server, tmp_path):
    (tmp_path / "pixel.png").write_bytes(PIXEL)
    chosen = page.until(lambda: page.driver.find_elements("css selector", "input[type=file]"))[0]
    chosen.send_keys(str(tmp_path / "pixel.png"))
    page.until(lambda: page.all("[aria-label='Uploaded files'] img"))
    page.ask("What is this?")
    page.until_said("tokens")
    page.ask("And its colour?")
    page.until(lambda: len(server.requests) == 2)
    for number in (0, 1):
        _, parts = sent(server, number)[0]
        assert [part["type"] for part in parts] == ["text", "image_url"]
        assert f"base64,{base64.b64encode(PIXEL).decode()}" in str(parts)


def test_web_chat_edited_question_is_asked_instead(page, server):
    page.ask("Hello")
    page.until_said("tokens")
    page.click("[aria-label=Edit]")
    box = page.until(lambda: page.all("textarea.edit-textarea"))[0]
    box.send_keys(" there")
    page.click(".icon-button[aria-label=Submit]")
    page.until(lambda: len(server.requests) == 2)
    assert sent(server) == [("user", "Hello there")]


def test_web_chat_conversation_is_in_the_history_after_a_reload(page, server):
    def remembered():
        entries = page.driver.find_elements("css selector", "tr")
        return [entry for entry in entries if entry.text == "Remember me."]

    page.ask("Remember me.")
    page.until(remembered)
    page.driver.refresh()
    page.until(remembered)[-1].click()
    page.until_said("You said: Remember me.")


@pytest.mark.parametrize(("width", "scheme"), [(1100, "light"), (1100, "dark"), (390, "light")])
def test_web_chat_is_accessible_in_light_dark_and_on_a_phone_and_loads_nothing_from_elsewhere(
    url, server, chromium, width, scheme
):
    page = Page(chromium, url, width=width, scheme=scheme)
    server.queue(Reply(MARKDOWN, reasoning="Seven times eight."), Fault(status=401))
    for number, question in enumerate(["Show me.", "And an error?"]):
        page.ask(question)
        page.until(lambda wanted=number + 1: len(page.said("user")) == wanted)
        page.until_said(["tokens", "Error"][number])
    shown = [len(page.all(f"[data-testid=bot] {part}")) for part in ("h1", "td", "a", "pre code", ".copy_code_button")]
    assert shown == [1, 2, 1, 1, 1]
    background = page.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    assert page.driver.execute_script("return document.documentElement.scrollWidth") <= width
    names = page.driver.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in names if not name.startswith((url, "data:", "blob:"))] == []
    axe = Axe(page.driver)
    axe.inject()
    found = [f"{violation['impact']}: {violation['help']}" for violation in axe.run()["violations"]]
    assert [problem for problem in found if problem.startswith(("serious", "critical"))] == []
    if folder := os.environ.get("PROMPTRUN_SCREENSHOTS"):
        page.driver.save_screenshot(f"{folder}/web_chat_{scheme}_{width}.png")


def test_web_chat_ctrl_c_during_an_answer_ends_it_quietly(chromium, server):
    with started(server) as (process, url):
        page = Page(chromium, url)
        server.queue(held("One ", "two.")[1])
        page.ask("Count.")
        page.until_said("One")
        process.send_signal(signal.SIGINT)
        assert (process.communicate(timeout=WAIT)[1], process.returncode) == ("", 0)
    (request,) = server.wait_for_disconnects(1, WAIT)
    assert not request.answered


@pytest.fixture
def chat(run_main, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return partial(run_main, partial(runpy.run_path, str(PROGRAM), run_name="__main__"))


def test_web_chat_ctrl_c_during_its_start_ends_it_quietly(chat, monkeypatch, tmp_path):
    (tmp_path / "gradio.py").write_text("raise KeyboardInterrupt\n")
    monkeypatch.delitem(sys.modules, "gradio", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert chat() == (None, "", "")


@pytest.mark.parametrize(
    ("arguments", "base_url", "named"),
    [
        ("--port {0.port}", "{0.base_url}", "error: port {0.port} cannot be used"),
        ("--model=", "{0.base_url}", "error: model: "),
        ("", "nonsense", "PROMPTRUN_BASE_URL"),
    ],
)
def test_web_chat_that_cannot_start_says_why(promptrun_server, chat, monkeypatch, arguments, base_url, named):
    monkeypatch.setitem(sys.modules, "gradio", MagicMock())  # which takes seconds to import
    monkeypatch.setenv("PROMPTRUN_BASE_URL", base_url.format(promptrun_server))
    assert named.format(promptrun_server) in chat(*arguments.format(promptrun_server).split()).status
