"""The web chat, over real sockets and in a real browser: tokens as they come, a stop that reaches the model, errors."""

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from langchain_core.language_models import FakeListChatModel

from langchain_promptrun.testing import Fault, PromptrunServer, Reply

try:
    from selenium import webdriver
    from selenium.common import StaleElementReferenceException
    from selenium.webdriver.support.wait import WebDriverWait
except ModuleNotFoundError:
    webdriver = None

REQUIRED = "PROMPTRUN_REQUIRE_BROWSER" in os.environ
if not REQUIRED:
    for needed in ("starlette", "sse_starlette", "uvicorn"):
        pytest.importorskip(needed)

PROGRAM = Path(__file__).parents[2] / "examples" / "web_chat.py"
WAIT = 60
"""Seconds after which a test gives up; nothing here is slow unless it hangs."""
BARE = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "PROMPTRUN_"))}
"""The programs' environment; their coverage is nobody's business, and costs time."""
DRIVER = shutil.which("chromedriver")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WORDS = ["One ", "two ", "three."]


class Program:
    """The web chat as a process of its own."""

    def __init__(self, *arguments, env=BARE, port=0):
        command = [sys.executable, PROGRAM, "--port", str(port), *arguments]
        self._process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.url = re.match(r"web chat at (\S+) ", self._process.stdout.readline())[1]

    def end(self, number=signal.SIGINT):
        """End it; return its exit status and what it said on stderr."""
        self._process.send_signal(number)
        _, said = self._process.communicate(timeout=WAIT)
        return self._process.returncode, said

    def kill(self):
        """End it, whatever it is at."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def start():
    """Start a program of the test's own; it is ended with the test."""
    started = []

    def run(*arguments, **options):
        started.append(Program(*arguments, **options))
        return started[-1]

    yield run
    for program in started:
        program.kill()


@pytest.fixture(scope="module")
def model_server():
    with PromptrunServer() as server:
        yield server


def environment(server):
    """What leads the program to a stand-in."""
    loopback = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    return BARE | loopback | {"PROMPTRUN_API_KEY": server.api_key, "PROMPTRUN_BASE_URL": server.base_url}


@pytest.fixture(scope="module")
def program(model_server):
    program = Program(env=environment(model_server))
    yield program
    assert program.end() == (0, "")


@pytest.fixture
def server(model_server):
    """The stand-in behind the program, as new."""
    model_server.clear()
    model_server.api_key = "test-key"
    return model_server


@pytest.fixture
def client(program):
    with httpx.Client(base_url=program.url, trust_env=False, timeout=WAIT) as client:
        yield client


def held(*words, after=1, cost=None):
    """An answer whose rest is kept back until the event is set."""
    release = threading.Event()
    return release, Fault(reply=Reply("".join(words), pieces=words, cost=cost), after=after, pause=release)


def asking(text):
    return {"messages": [{"role": "user", "content": text}]}


def documents(response):
    """The events of an answer as they come."""
    for line in response.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


# over HTTP


def test_each_piece_arrives_while_the_model_still_speaks(server, client):
    release, answer = held(*WORDS)
    server.queue(answer)
    with client.stream("POST", "/chat", json=asking("Count.")) as response:
        events = documents(response)
        assert next(events) == {"text": "One "}
        assert not server.requests[0].answered
        release.set()
        *texts, end = events
    assert texts == [{"text": "two "}, {"text": "three."}]
    assert end["end"]["tokens"] == "tokens: 1 in, 3 out"


@pytest.mark.parametrize("spoken", [0, 1], ids=["before the first word", "in the middle"])
def test_a_client_that_leaves_takes_the_request_to_the_model_with_it(server, client, spoken):
    """Also while the model is silent, so that no write could tell that nobody listens."""
    _, answer = held(*WORDS, after=spoken)
    server.queue(answer)
    with client.stream("POST", "/chat", json=asking("Count.")) as response:
        if spoken:
            next(documents(response))
        server.wait_for_requests(1, WAIT)
    (request,) = server.wait_for_disconnects(1, WAIT)
    assert not request.answered


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "Not a conversation: Invalid JSON"),
        (b"{", 400, "Not a conversation"),
        (b"\xff", 400, "Not a conversation"),
        (b'{"messages": []}', 400, "Not a conversation: messages: List should have at least 1 item"),
        (b'{"messages": [{"role": "system", "content": "Obey."}]}', 400, "Not a conversation: messages.0.role"),
        (b'{"messages": [{"role": "assistant", "content": "Hello."}]}', 400, "There is no question."),
        (b'{"messages": [{"role": "user", "content": " "}]}', 400, "There is no question."),
        (json.dumps(asking("x" * 20_001)).encode(), 413, "A message may have at most 20,000 characters."),
        (b"x" * 1_000_001, 413, "This conversation has grown too long: start a new one."),
    ],
)
def test_bad_input_is_refused_with_a_clear_message_and_never_reaches_the_model(server, client, body, status, message):
    response = client.post("/chat", content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.text[: len(message)]) == (status, message)
    assert server.requests == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Reply(""), "The model gave no answer (finish reason: stop)."),
        (
            Reply(reasoning="Hm.", finish_reason="length"),
            "The model gave no answer, only reasoning (finish reason: length).",
        ),
        (Reply(tool_calls=[{"name": "count", "args": {}}]), "The model gave no answer (finish reason: tool_calls)."),
    ],
    ids=["empty", "only reasoning", "a tool call"],
)
def test_an_answer_without_text_is_said_to_be_none_and_why(server, client, answer, message):
    server.queue(answer)
    with client.stream("POST", "/chat", json=asking("Count.")) as response:
        assert list(documents(response)) == [{"error": message}]


def test_a_refusal_is_an_answer(server, client):
    server.queue(Reply(refusal="No."))
    with client.stream("POST", "/chat", json=asking("Count.")) as response:
        text, end = documents(response)
    assert text == {"text": "No."}
    assert "end" in end


async def test_what_nobody_foresaw_is_a_message_without_details_which_are_logged(monkeypatch, caplog):
    monkeypatch.syspath_prepend(PROGRAM.parent)
    model = FakeListChatModel(responses=["One"], error_on_chunk_number=1)
    events = [json.loads(event) async for event in importlib.import_module("web_chat").events(model, [])]
    assert events == [
        {"text": "O"},
        {"error": "Something went wrong in this chat's server; its terminal says what."},
    ]
    assert "FakeListChatModelError" in caplog.text


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON ;charset=utf-8"])
def test_json_is_json_whatever_its_parameters(server, client, kind):
    response = client.post("/chat", content=json.dumps(asking("Hello")), headers={"Content-Type": kind})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Content-Type": "text/plain"}, 415), ({"Host": "example.com", "Content-Type": "application/json"}, 400)],
    ids=["a form of another site", "another site's name for this machine"],
)
def test_other_sites_cannot_use_the_chat(server, client, headers, status):
    response = client.post("/chat", content=json.dumps(asking("Hello")), headers=headers)
    assert response.status_code == status
    assert server.requests == []


def test_the_page_needs_nothing_from_elsewhere(client):
    page = client.get("/")
    assert re.findall(r"(?:src|href)=\"(?!data:)", page.text) == []
    assert "://" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_the_documented_command_runs_it_offline(start):
    program = start("--offline")
    with httpx.Client(trust_env=False, timeout=WAIT) as client:
        response = client.post(f"{program.url}/chat", json=asking("An expired key, please."))
        events = list(documents(response))
    status, said = program.end()
    assert "The API key has expired." in events[0]["error"]
    assert (status, said.partition("http")[0]) == (0, "offline: a stand-in server at ")


def test_ctrl_c_during_an_answer_ends_the_program_quietly_and_the_request_to_the_model(server, start):
    _, answer = held(*WORDS)
    server.queue(answer)
    program = start(env=environment(server))
    with (
        httpx.Client(trust_env=False, timeout=WAIT) as client,
        client.stream("POST", f"{program.url}/chat", json=asking("Count.")) as response,
    ):
        events = documents(response)
        next(events)
        assert program.end() == (0, "")
    (request,) = server.wait_for_disconnects(1, WAIT)
    assert not request.answered


def ended(*arguments, **options):
    """Run the program to its end; return its exit status and what it said on stderr."""
    command = [sys.executable, PROGRAM, *arguments]
    options = {"env": BARE, "stdout": subprocess.PIPE, **options}
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=WAIT, check=False, **options)
    return done.returncode, done.stderr


def test_where_its_address_cannot_be_shown_the_program_says_so_and_ends():
    with Path("/dev/full").open("wb") as full:
        status, said = ended("--offline", "--port", "0", stdout=full)
    assert status == 1
    assert said.splitlines()[1:] == ["error: cannot write to the terminal: No space left on device"]


def test_the_program_runs_although_stdout_is_closed(monkeypatch):
    monkeypatch.syspath_prepend(PROGRAM.parent)
    program = importlib.import_module("web_chat")
    ran = []
    monkeypatch.setattr(program.uvicorn.Server, "run", lambda _, sockets: ran.extend(sockets))
    monkeypatch.setattr(sys, "argv", [PROGRAM.name, "--offline", "--port", "0"])
    monkeypatch.setattr(sys, "stdout", None)
    program.main()
    assert len(ran) == 1


def test_where_a_part_of_a_package_is_missing_the_package_is_named_and_the_pip_that_it_takes(tmp_path):
    (tmp_path / "starlette").mkdir()
    (tmp_path / "starlette" / "__init__.py").touch()
    how = "use `uv run examples/web_chat.py`, or `pip install --group apps --editable .` first (pip 25.1 or newer)"
    assert ended("--help", env=BARE | {"PYTHONPATH": str(tmp_path)}) == (
        1,
        f"error: starlette is not installed: {how}\n",
    )


@pytest.mark.parametrize("port", ["taken", "65536", "x"])
def test_a_port_that_cannot_be_used_is_a_clear_message(program, port, monkeypatch, capsys):
    port = str(httpx.URL(program.url).port) if port == "taken" else port
    monkeypatch.syspath_prepend(PROGRAM.parent)
    monkeypatch.setattr(sys, "argv", [PROGRAM.name, "--offline", "--port", port])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module("web_chat").main()
    message = f"{ended.value.code} {capsys.readouterr().err}"
    assert port in message
    assert "--port" in message


@pytest.mark.parametrize(
    ("arguments", "url", "named"), [(["--model", ""], None, "error: model: "), ([], "nonsense", "PROMPTRUN_BASE_URL")]
)
def test_a_model_or_an_address_that_cannot_be_is_a_clear_message(monkeypatch, arguments, url, named):
    monkeypatch.syspath_prepend(PROGRAM.parent)
    monkeypatch.setattr(sys, "argv", [PROGRAM.name, "--port", "0", *arguments])
    monkeypatch.setenv("PROMPTRUN_API_KEY", "test-key")
    if url:
        monkeypatch.setenv("PROMPTRUN_BASE_URL", url)
    with pytest.raises(SystemExit, match=named):
        importlib.import_module("web_chat").main()


# in a browser


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """A browser without a screen. Only where one must be there is its absence a failure."""
    missing = [
        name
        for name, found in {"chromium": BROWSER, "chromedriver": DRIVER, "selenium": webdriver}.items()
        if not found
    ]
    if missing:
        (pytest.fail if REQUIRED else pytest.skip)(f"not found: {', '.join(missing)}")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    quiet = ("background-networking", "component-update", "sync", "dev-shm-usage", "gpu", "quic")
    for flag in ("headless", "no-sandbox", "no-first-run", *(f"disable-{name}" for name in quiet)):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


class Page:
    """The page as its user sees it."""

    def __init__(self, driver, url):
        self.driver = driver
        self.open(url)

    def open(self, url):
        """Open the page without what an earlier test left in the browser."""
        self.driver.get(f"{url}/chat")  # of the same origin, but without the page's script
        self.driver.execute_script("localStorage.clear(); sessionStorage.clear()")
        self.driver.get(url)
        self.driver.get_log("browser")

    def find(self, name):
        """An element by its id."""
        return self.driver.find_element("id", name)

    def ask(self, text):
        """Type a message and send it as most people do."""
        self.find("question").send_keys(text + "\n")

    @property
    def bubbles(self):
        """All that was said: who, what, and the note below."""
        return [
            (
                article.accessible_name,
                *(part.get_property("textContent") for part in article.find_elements("xpath", "*")),
            )
            for article in self.driver.find_elements("tag name", "article")
        ]

    @property
    def problem(self):
        """The message that something went wrong."""
        return self.find("problem").text

    def until(self, condition):
        """Wait for something to show; return it."""
        ignored = [StaleElementReferenceException]
        return WebDriverWait(self.driver, WAIT, 0.05, ignored).until(lambda _: condition())

    def said(self, text):
        """Wait until the last answer is this, and nothing is under way."""
        self.until(lambda: self.bubbles and self.bubbles[-1][:2] == ("Answer", text))
        self.until(lambda: self.find("send").is_displayed())


@pytest.fixture
def page(chromium, program, server):
    return Page(chromium, program.url)


def test_the_answer_appears_token_by_token_and_then_what_it_took(page, server):
    release, answer = held(*WORDS, cost=0.00012345)
    server.queue(answer)
    page.ask("Count.")
    page.until(lambda: page.bubbles == [("You", "Count.", ""), ("Answer", "One ", "Writing…")])
    assert not server.requests[0].answered
    release.set()
    page.said("One two three.")
    assert page.bubbles[-1][2] == "tokens: 1 in, 3 out · $0.000123"
    assert page.driver.get_log("browser") == []


def press_stop(page):
    page.find("stop").click()


def press_escape(page):
    page.find("question").send_keys("\ue00c")


def go_away(page):
    page.driver.get("about:blank")


@pytest.mark.parametrize("leave", [press_stop, press_escape, go_away])
def test_stopping_an_answer_closes_the_request_to_the_model_and_keeps_what_came(page, server, program, leave):
    _, answer = held(*WORDS)
    server.queue(answer, "And on.")
    page.ask("Count.")
    page.until(lambda: page.bubbles[1:] and page.bubbles[1][1] == "One ")
    leave(page)
    (request,) = server.wait_for_disconnects(1, WAIT)
    assert not request.answered
    if leave is go_away:
        page.driver.get(program.url)
    note = "This answer is not whole." if leave is go_away else "Stopped."
    page.until(lambda: page.bubbles == [("You", "Count.", ""), ("Answer", "One ", note)])
    page.ask("Go on.")
    page.said("And on.")
    sent = [(message["role"], message["content"]) for message in server.requests[-1].body["messages"]]
    assert sent == [("user", "Count."), ("assistant", "One "), ("user", "Go on.")]


PIECES = [f"{number} " for number in range(8000)]
COUNT_CHANGES = """
window.changes = 0;
new MutationObserver((changes) => { window.changes += changes.length })
  .observe(document.getElementById("log"), { childList: true, characterData: true, subtree: true });
"""


def test_an_answer_of_8000_pieces_appears_whole_but_not_piece_by_piece(page, server):
    server.queue(Reply("".join(PIECES), pieces=PIECES))
    page.driver.execute_script(COUNT_CHANGES)
    page.ask("Count.")
    page.said("".join(PIECES))
    assert page.driver.execute_script("return window.changes") < len(PIECES) / 2


def test_an_answer_of_8000_pieces_can_be_stopped_in_its_middle_and_all_that_came_is_kept(page, server):
    _, answer = held(*PIECES, after=4000)
    server.queue(answer)
    page.ask("Count.")
    came = "".join(PIECES[:4000])
    page.until(lambda: page.bubbles[1:] and page.bubbles[1][1] == came)
    press_stop(page)
    server.wait_for_disconnects(1, WAIT)
    page.until(lambda: page.bubbles[1] == ("Answer", came, "Stopped."))
    page.driver.refresh()
    page.until(lambda: page.bubbles[1:] and page.bubbles[1] == ("Answer", came, "Stopped."))


FLOOD = """
const [piece, comment] = ['data: {"text": "On. "}\\n\\n', ': ping\\n\\n'].map((text) => new TextEncoder().encode(text));
let pieces = 1000;
window.fetch = async (_, { signal }) => new Response(new ReadableStream({
  start(flood) { signal.addEventListener("abort", () => flood.error(signal.reason)) },
  pull(flood) { flood.enqueue(pieces-- > 0 ? piece : comment) },
}));
"""


def test_what_came_is_shown_and_stop_is_noticed_although_there_is_always_more_to_read(page):
    page.driver.execute_script(FLOOD)
    page.ask("Go on.")
    page.until(lambda: page.bubbles[1:] and page.bubbles[1][1] == "On. " * 1000)
    press_stop(page)
    page.until(lambda: page.bubbles[1][2] == "Stopped.")


def test_what_has_to_wait_for_the_end_of_an_answer_says_so(page, server):
    release, answer = held(*WORDS)
    server.queue(answer)
    page.ask("Count.")
    page.until(lambda: page.bubbles[1:] and page.bubbles[1][1] == "One ")
    assert not page.find("new").is_enabled()
    page.ask("And on.")
    page.until(lambda: page.problem == "Wait for the answer, or stop it.")
    assert page.find("question").get_property("value") == "And on."
    release.set()
    page.said("One two three.")
    assert page.problem == ""
    assert page.find("new").is_enabled()
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("trouble", "message", "came"),
    [
        (
            Fault(status=429, headers={"retry-after": "90"}, body={"error": "Too many requests."}),
            r"Too many requests\. \(status 429, .*\) Try again in 90 seconds\.",
            [],
        ),
        (
            Fault(status=401, body={"error": "The API key has expired."}),
            r"The API key has expired\. Check the key: the environment variable PROMPTRUN_API_KEY",
            [],
        ),
        (
            Fault(reply=Reply("One two three.", pieces=WORDS), after=1, cut=True),
            "The connection was lost before the answer was complete",
            [("Answer", "One ", "This answer is not whole.")],
        ),
    ],
    ids=["rate limit", "expired key", "lost connection"],
)
def test_an_error_shows_as_a_message_and_nothing_is_lost(page, server, trouble, message, came):
    server.queue(trouble, "Now it works.")
    page.ask("Count.")
    page.until(lambda: re.match(message, page.problem.replace("\n", " ")))
    assert page.find("problem").aria_role == "alert"
    assert page.bubbles == [("You", "Count.", ""), *came]
    page.find("again").click()
    page.said("Now it works.")
    assert page.problem == ""
    assert server.requests[-1].body["messages"] == asking("Count.")["messages"]
    assert not page.find("again").is_displayed()


def test_when_the_chats_own_server_goes_the_page_says_so_and_goes_on_when_it_is_back(chromium, server, start):
    _, answer = held(*WORDS)
    server.queue(answer, "Welcome back.")
    first = start(env=environment(server))
    page = Page(chromium, first.url)
    page.ask("Count.")
    page.until(lambda: page.bubbles[1:] and page.bubbles[1][1] == "One ")
    first.end(signal.SIGKILL)
    page.until(lambda: page.problem == "The connection to this chat's server was lost. The conversation is kept here.")
    start(env=environment(server), port=httpx.URL(first.url).port)
    page.find("again").click()
    page.said("Welcome back.")


MARKUP = '<img src=x onerror="hacked=1"><script>hacked=1</script><b>bold</b> &amp; `code`'


def test_markup_of_either_side_stays_text(page, server):
    server.queue(Reply(MARKUP, pieces=[MARKUP[:30], MARKUP[30:]]))
    page.ask(MARKUP)
    page.said(MARKUP)
    assert page.bubbles[0] == ("You", MARKUP, "")
    page.driver.refresh()
    page.until(lambda: [bubble[1] for bubble in page.bubbles] == [MARKUP, MARKUP])
    assert page.driver.execute_script("return window.hacked") is None
    assert page.driver.find_elements("css selector", "article img, article b, article script") == []
    assert page.driver.get_log("browser") == []


def test_the_conversation_survives_a_reload_until_a_new_one_is_begun(page, server):
    server.queue("Hello, Nino.", "You are Nino.", "I do not know.")
    page.ask("I am Nino.")
    page.said("Hello, Nino.")
    page.driver.refresh()
    page.until(lambda: len(page.bubbles) == 2)
    page.ask("Who am I?")
    page.said("You are Nino.")
    assert [message["content"] for message in server.requests[-1].body["messages"]] == [
        "I am Nino.",
        "Hello, Nino.",
        "Who am I?",
    ]
    page.find("new").click()
    assert page.bubbles == []
    page.ask("Who am I?")
    page.said("I do not know.")
    assert len(server.requests[-1].body["messages"]) == 1


@pytest.fixture
def tab(page, program):
    """Open the chat in one more tab; return its handle."""
    first = page.driver.current_window_handle

    def open_tab():
        page.driver.switch_to.new_window("tab")
        page.driver.get(program.url)
        return page.driver.current_window_handle

    yield open_tab
    for handle in page.driver.window_handles:
        page.driver.switch_to.window(handle)
        if handle != first:
            page.driver.close()
    page.driver.switch_to.window(first)


def test_each_tab_keeps_a_conversation_of_its_own(page, server, program, tab):
    server.queue("Hello, Nino.", "Hello, Lela.")
    first = page.driver.current_window_handle
    page.ask("I am Nino.")
    page.said("Hello, Nino.")
    second = tab()
    page.until(lambda: len(page.bubbles) == 2)  # a new tab goes on from the last
    page.find("new").click()
    page.ask("I am Lela.")
    page.said("Hello, Lela.")
    for handle in first, second:
        page.driver.switch_to.window(handle)
        page.driver.get("about:blank")
    for handle, name in (first, "Nino"), (second, "Lela"):
        page.driver.switch_to.window(handle)
        page.driver.get(program.url)
        page.until(lambda name=name: [bubble[1] for bubble in page.bubbles] == [f"I am {name}.", f"Hello, {name}."])


def test_a_new_chat_in_one_tab_does_not_forget_what_another_tab_keeps_for_the_next(page, server, tab):
    server.queue("Hello, Nino.", "You are Nino.")
    first = page.driver.current_window_handle
    page.ask("I am Nino.")
    page.said("Hello, Nino.")
    second = tab()
    page.until(lambda: len(page.bubbles) == 2)
    page.driver.switch_to.window(first)
    page.ask("Who am I?")
    page.said("You are Nino.")
    page.driver.switch_to.window(second)
    page.until(lambda: "Who am I?" in page.driver.execute_script("return localStorage.turns"))
    page.find("new").click()
    tab()
    page.until(lambda: len(page.bubbles) == 4)


def test_no_answer_shows_as_a_message_with_a_button_to_try_again(page, server):
    server.queue(Reply(""), "Now it works.")
    page.ask("Count.")
    page.until(lambda: page.problem == "The model gave no answer (finish reason: stop).")
    assert page.bubbles == [("You", "Count.", "")]
    page.find("again").click()
    page.said("Now it works.")


def test_an_empty_or_a_huge_message_is_not_sent_and_not_lost(page, server):
    page.ask("  ")
    page.until(lambda: page.problem == "Write a message first.")
    page.driver.execute_script("document.getElementById('question').value = 'x'.repeat(20001)")
    page.ask("")
    page.until(lambda: page.problem == "A message may have at most 20000 characters; this one has 20001.")
    assert len(page.find("question").get_property("value")) == 20_001
    assert page.bubbles == []
    assert server.requests == []


def test_a_full_browser_store_is_a_message_and_the_chat_goes_on(page, server):
    page.driver.execute_script("Storage.prototype.setItem = () => { throw new DOMException('', 'QuotaExceededError') }")
    server.queue("Still here.")
    page.ask("Hello?")
    page.said("Still here.")
    page.until(lambda: page.problem.startswith("This browser has no room left to keep the conversation"))


@pytest.mark.parametrize("store", ["localStorage", "sessionStorage"])
@pytest.mark.parametrize("left", ["[{", "{}", "[null]"])
def test_what_is_left_of_a_spoilt_browser_store_is_a_new_conversation(page, server, program, store, left):
    page.driver.get(f"{program.url}/chat")
    page.driver.execute_script("sessionStorage.clear(); window[arguments[0]].turns = arguments[1]", store, left)
    page.driver.get(program.url)
    server.queue("Fresh.")
    page.ask("Hello?")
    page.said("Fresh.")


def test_shift_and_enter_start_a_new_line(page, server):
    server.queue("Yes.")
    page.find("question").send_keys("One", "\ue008", "\n", "\ue000", "two")
    assert server.requests == []
    page.ask("")
    page.said("Yes.")
    assert server.requests[0].body["messages"][0]["content"] == "One\ntwo"


def test_everything_has_a_name_for_those_who_do_not_see_the_page(page):
    names = {name: (page.find(name).aria_role, page.find(name).accessible_name) for name in ("log", "question", "send")}
    assert names == {
        "log": ("log", "Conversation"),
        "question": ("textbox", "Your message (Enter sends, Shift+Enter starts a line, Esc stops the answer)"),
        "send": ("button", "Send"),
    }
    buttons = page.driver.find_elements("tag name", "button")
    assert {button.get_property("textContent") for button in buttons} == {"Send", "Stop", "Try again", "New chat"}
    assert page.driver.switch_to.active_element == page.find("question")
