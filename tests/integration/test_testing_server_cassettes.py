"""Recording and replaying: a second stand-in server is the upstream."""

import base64
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from langchain_promptrun import ChatPromptrun, PromptrunError, PromptrunPrompt
from langchain_promptrun.testing import Fault, PromptrunServer, Reply, convert_recording

pytest_plugins = ["pytester"]

KEY = "sk-live-0123456789abcdef0123"
EMAIL = "ann@example.com"
GZIPPED = {"content-encoding": "GZIP"}
CALL = {"name": "get_weather", "args": {"place": "Tbilisi"}, "id": "call_1"}
RICH = Reply("It is sunny in Tbilisi \N{SUN WITH FACE}.", reasoning="Think first.", tool_calls=[CALL])


@pytest.fixture
def upstream():
    with PromptrunServer(api_key=KEY) as server:
        yield server


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cassettes" / "answers.jsonl"


def record(path, upstream, **options):
    return PromptrunServer.record(path, upstream.base_url, **options)


def both(path, upstream, ask, **options):
    """What one asks a recorder, and then its cassette."""
    with record(path, upstream, **options) as server:
        recorded = ask(server)
    with PromptrunServer.replay(path, **options) as server:
        return recorded, ask(server)


def model_at(server, key=KEY, **settings):
    return ChatPromptrun(model="a/b", api_key=key, base_url=server.base_url, max_retries=0, **settings)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def asking(content, **body):
    return {"model": "a/b", "messages": [{"role": "user", "content": content}], **body}


def exchange(content, *, body="{}", path="/chat/completions", answer=None, **asked):
    found = {"status": 200, "content_type": "text/event-stream", "request": asking(content, **asked), "response": body}
    made = convert_recording(found)
    return {"request": made["request"] | {"path": path}, "response": made["response"] | (answer or {})}


def written(path, *exchanges):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in exchanges))
    return path


def client(**headers):
    return httpx.Client(timeout=10, trust_env=False, headers={"authorization": f"Bearer {KEY}", **headers})


def post(server, content="Hi", **body):
    with client() as http:
        return http.post(f"{server.base_url}/chat/completions", json=asking(content, **body))


def pieces(server, timeout=10):
    """Ask for a stream and yield the pieces of its body; `close` leaves."""
    with client() as http:
        asked = {"json": asking("Hi", stream=True), "timeout": timeout}
        with http.stream("POST", f"{server.base_url}/chat/completions", **asked) as response:
            yield from response.iter_raw()


@pytest.mark.parametrize("transport", ["httpx", "aiohttp"])
async def test_cassette_gives_each_call_style_the_answer_that_was_recorded(talk, upstream, path, transport):
    """Byte for byte, so all that the model makes of it is equal too; v3 events are among the styles."""

    async def ask(server):
        model = model_at(server, async_transport=transport)
        return [talk.facts(await talk.call(style, model, f"By {style}")) for style in talk.styles]

    upstream.answer = lambda _body: RICH
    with record(path, upstream) as server:
        recorded = await ask(server)
    assert recorded[0]["tool_calls"] == [("get_weather", {"place": "Tbilisi"}, "call_1")]
    for options in ({}, {"slices": 1}, {"slices": lambda body: [body[:100], body[100:]]}):
        with PromptrunServer.replay(path, **options) as server:
            assert await ask(server) == recorded
            assert (server.unused, server.missing) == ([], [])


def test_recorder_and_cassette_give_the_upstreams_pieces(upstream, path):
    upstream.answer = lambda _body: RICH
    upstream.pace = 0.005
    direct = list(pieces(upstream))
    passed, replayed = both(path, upstream, lambda server: list(pieces(server)))
    numbers = re.compile(rb"chatcmpl-\d|17153256\d\d|call_\d_")
    assert [numbers.sub(b"", piece) for piece in passed] == [numbers.sub(b"", piece) for piece in direct]
    assert replayed == passed
    assert len(passed) > 5


def test_recorder_passes_each_piece_on_before_the_next_one_comes(upstream, path):
    go_on = threading.Event()
    upstream.queue(Fault(slices=[b"data: 1\n\n", go_on, b"x" * 10_000_000]))
    with record(path, upstream, redact_emails=True) as server:
        client = pieces(server)
        assert next(client) == b"data: 1\n\n"
        go_on.set()
        assert len(b"".join(client)) == 10_000_000
    assert len(lines(path)[0]["response"]["body"]) == 10_000_009


def test_cassette_gives_other_clients_the_same_bytes(upstream, path):
    openai = pytest.importorskip("openai")
    langchain_openai = pytest.importorskip("langchain_openai")
    node = """
    const body = JSON.stringify({model: "a/b", messages: [{role: "user", content: "From node"}], stream: true});
    const headers = {authorization: "Bearer " + process.argv[2], "content-type": "application/json"};
    const answer = await fetch(process.argv[1], {method: "POST", body, headers});
    process.stdout.write(await answer.text());
    """
    # More than a megabyte: curl asks first whether to go on, by `Expect: 100-continue`.
    curl = json.dumps(asking("From curl " * 150_000)).encode()

    def run(*command, text=None):
        return subprocess.run(command, capture_output=True, check=True, timeout=30, input=text).stdout

    def ask(server):
        target = f"{server.base_url}/chat/completions"
        client = openai.OpenAI(api_key=KEY, base_url=server.base_url)
        messages = [{"role": "user", "content": "From openai"}]
        stream = client.chat.completions.create(model="a/b", messages=messages, stream=True)
        chat = langchain_openai.ChatOpenAI(model="a/b", api_key=KEY, base_url=server.base_url)
        found = [chunk.model_dump_json() for chunk in stream]
        found.append(chat.invoke("From ChatOpenAI").model_dump_json(exclude={"id"}))
        client.close()
        if shutil.which("curl"):
            found.append(run("curl", "-sS", target, "-H", f"Authorization: Bearer {KEY}", "-d", "@-", text=curl))
        if shutil.which("node"):
            found.append(run("node", "--input-type=module", "-e", node, "--", target, KEY))
        return found

    recorded, replayed = both(path, upstream, ask)
    assert replayed == recorded


def test_cassette_keeps_managed_prompts(upstream, path):
    project = upstream.prompts.create("Essays")
    project.publish("Write {{count}} words.", tags=["prod"])

    def pull(server):
        with PromptrunPrompt(project_id=project.id, tag="prod", api_key=KEY, base_url=server.base_url) as prompt:
            return prompt.pull().prompt

    assert both(path, upstream, pull) == ("Write {{count}} words.",) * 2
    with PromptrunServer.replay(path) as server:
        server.prompts.queue(Fault(delay=0.001))
        assert pull(server) == "Write {{count}} words."


def test_cassette_hides_secrets_wherever_they_stand(upstream, path):
    """In headers, names of JSON, bytes that are no text, patterns, and deltas of several choices; and only secrets."""
    token = "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.SflKxwRJSMeKKF2QT4"
    secrets = {"x-api-key": "short-key", "openai-organization": "acme-inc", "cookie": "sid=crumbs-1; theme=dark-blue"}
    cookies = [("set-cookie", "session-id=half-baked; HttpOnly"), ("set-cookie", "theme=; Domain=example.org")]
    cookies += [("x-ratelimit-reset-tokens", "1h30m12.5s"), ("openai-organization", "org-acme")]
    plain = "session-id HttpOnly example.org 1h30m12.5s"
    each = [(part, index) for part in ("ann@exam", "ple.com") for index in (0, 1)]
    halves = [{"choices": [{"index": index, "delta": {"content": part}}]} for part, index in each]
    calls = [{"name": "f", "args": {"to": EMAIL, "api_key": "opensesame"}}]
    upstream.queue(
        Fault(body=f"short-key of acme-inc with crumbs-1 and {KEY} in caf\xe9".encode("latin-1")),
        Fault(events=[*halves, "[DONE]"]),
        Fault(body={KEY: 1, "access_token": ["t1", "t2"], "n": None}, headers={"set-cookie": "token=half-baked"}),
        Fault(body="[" * 100_000 + f" half-baked {plain}", headers=cookies),
        Reply("Mail ann@example.com.", pieces=["Mail ann", "@exam", "ple.com."], reasoning=token, tool_calls=calls),
        Fault(body=f'{{\n  "mail": "{EMAIL}"\n}}', status=400),
    )

    def ask(server):
        with client(**secrets) as http:
            bodies = [asking(text, **{KEY: text}) for text in "abcd"]
            bodies += [asking(f"I am {EMAIL}, key {KEY}.", stream=True), asking("f", metadata={"password": "hunter2"})]
            return [http.post(f"{server.base_url}/chat/completions", json=body) for body in bodies]

    recorded, replayed = both(path, upstream, ask, redact_emails=True)
    assert recorded[2].headers["set-cookie"] == "token=half-baked"
    assert recorded[5].json() == {"mail": EMAIL}
    text = path.read_text()
    parts = ("crumbs-1", "dark-blue", "t1", "t2", "ann@", "ple.com", "half-baked", "hunter2", "opensesame", "Bearer")
    for secret in (KEY, EMAIL, token, *secrets.values(), *parts, "org-acme"):
        assert secret not in text, secret
    assert "x-ratelimit-reset-tokens" in text
    for kept in (kept["response"] for kept in lines(path)[1:]):
        assert sum(size for _, size in kept["pieces"]) == len(kept["body"].encode())
    first, second, third, fourth, fifth, sixth = (answer.content for answer in replayed)
    assert first == "[redacted] of [redacted] with [redacted] and [redacted] in caf\xe9".encode("latin-1")
    assert (second.count(b"[redacted]"), fifth.count(b"[redacted]")) == (2, 4)
    assert json.loads(third) == {"[redacted]": 1, "access_token": ["[redacted]"] * 2, "n": None}
    assert fourth.endswith(f"[[ [redacted] {plain}".encode())
    assert json.loads(sixth) == {"mail": "[redacted]"}


def test_headers_of_an_answer_do_not_change_the_request(upstream, path):
    headers = {"set-cookie": "__cf_bm=AbCdEfGh.1234; path=/; domain=.promptrun.ai; HttpOnly; SameSite=None"}
    headers |= {"x-request-id": KEY, "x-ratelimit-limit-tokens": "10000000", "location": "/elsewhere"}
    headers |= {"x-ratelimit-organization": "acme-corporation", "x-ratelimit-account": "acme"}
    question = "What do HttpOnly and SameSite mean on .promptrun.ai? And AbCdEfGh.1234, 10000000?"
    upstream.queue(Fault(body="HttpOnly hides it, 10000000 times: AbCdEfGh.1234", headers=headers))
    _, replayed = both(path, upstream, lambda server: post(server, question).text)
    (kept,) = lines(path)
    assert kept["request"]["body"]["messages"][0]["content"] == question
    assert kept["response"]["body"] == replayed == "HttpOnly hides it, 10000000 times: [redacted]"
    assert {"x-request-id": "[redacted]", "location": "/elsewhere"}.items() <= kept["response"]["headers"].items()
    assert "acme" not in path.read_text()


NESTED = '{"password":"hunter2hunter2","api_key":"0123456789abc"}'
NAMES = ("token", "private_key", "secretKey", "aws_secret_access_key", "passwd", "pass", "session")
PLAIN = {"token": " Hi", "logprob": -1.0, "compass": "north"}


@pytest.mark.parametrize(
    ("body", "written"),
    [
        ({"arguments": NESTED}, {"arguments": '{"password":"[redacted]","api_key":"[redacted]"}'}),
        (dict.fromkeys(NAMES, "opensesame"), dict.fromkeys(NAMES, "[redacted]")),
        (PLAIN, PLAIN),
    ],
    ids=str,
)
def test_values_named_like_secrets_are_hidden_in_requests_and_answers(upstream, path, body, written):
    upstream.queue(Fault(body=body))
    _, replayed = both(path, upstream, lambda server: post(server, extra=body).json())
    (kept,) = lines(path)
    assert kept["request"]["body"]["extra"] == json.loads(kept["response"]["body"]) == replayed == written


@pytest.mark.parametrize(
    ("line", "cut"),
    [
        ('data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":PART}}]}}]}', NESTED),
        ('data: {"choices":[{"text":PART}]}', "sk-abcdefghijklmnop1234"),
        ('data: {"candidates":[{"content":{"parts":[{"text":PART}]}}]}', "sk-abcdefghijklmnop1234"),
        ('{"message":{"content":PART}}', "sk-abcdefghijklmnop1234"),
    ],
)
def test_secrets_are_hidden_in_streams_of_all_vendors(upstream, path, line, cut):
    parts = [json.dumps(cut[start : start + 7]) for start in range(0, len(cut), 7)]
    upstream.queue(Fault(body="".join(line.replace("PART", part) + "\r\n\r\n" for part in parts)))
    with record(path, upstream) as server:
        post(server)
    body = lines(path)[0]["response"]["body"]
    assert body.count("[redacted]") == (2 if cut == NESTED else 1)
    for secret in ("hunter", "012345", "sk-abcd", "ijklmn", "op1234"):
        assert secret not in body


def test_repeated_names_of_a_query_all_count_and_its_secrets_are_hidden_there_and_in_the_answer(upstream, path):
    upstream.queue(Fault(body="The key abcdefgh12345678 is wrong."))

    def ask(server, query):
        with client() as http:
            return http.post(f"{server.base_url}/chat/completions?{query}&x=", json=asking("Hi")).text

    with record(path, upstream) as server:
        ask(server, "tag=a&tag=b&key=abcdefgh12345678&token=short")
    (kept,) = lines(path)
    assert kept["request"]["query"] == {"tag": ["a", "b"], "key": "[redacted]", "token": "[redacted]", "x": ""}
    with PromptrunServer.replay(path) as server:
        tags = ("tag=b", "tag=b&tag=a", "tag=a&tag=b")
        *unlike, replayed = [ask(server, f"{query}&key=other&token=other") for query in tags]
    assert ["not recorded" in text for text in unlike] == [True, True]
    assert kept["response"]["body"] == replayed == "The key [redacted] is wrong."


def test_exchange_that_cannot_be_written_is_told_when_the_recorder_closes(upstream, path):
    server = record(path, upstream, redact=lambda _exchange: {}["nothing"])
    server.start()
    assert post(server).status_code == 200
    with pytest.raises(KeyError, match="nothing"):
        server.close()


def test_redact_sees_exchanges_before_they_are_written_and_requests_before_they_are_compared(upstream, path):
    def redact(exchange):
        content = exchange["request"]["body"]["messages"][0]["content"]
        if content == "Private":
            return None
        exchange["request"]["body"]["messages"][0]["content"] = re.sub(r"\d+", "N", content)
        if "response" in exchange:
            exchange["response"]["body"] = exchange["response"]["body"].replace("41", "N") + "\n\n"
        return exchange

    with record(path, upstream, redact=redact) as server:
        post(server, "Order 41")
        post(server, "Private")
    (kept,) = lines(path)
    assert "41" not in json.dumps(kept["request"])
    with PromptrunServer.replay(path, redact=redact) as server:
        assert "Order N" in post(server, "Order 42").text
        assert post(server, "Private").status_code == 400


def test_request_matches_whatever_its_spelling_and_once_more_than_recorded_is_an_error_that_is_not_retried(path):
    with PromptrunServer.replay(written(path, exchange("Hi", body="found", temperature=1, stop=["a"]))) as server:
        raw = b'{"stop": ["a"], "temperature": 1.0, "messages": [{"content": "Hi", "role": "user"}], "model": "a/b"}'
        assert httpx.post(f"{server.base_url}/chat/completions", content=raw, trust_env=False).text == "found"
        with pytest.raises(PromptrunError, match="all 1 recorded answers") as caught:
            model_at(server, temperature=1.0, stop=["a"]).invoke("Hi")
    assert (caught.value.status_code, caught.value.is_retryable) == (400, False)


ROME, OSLO = "The weather in Rome?", "The weather in Oslo?"
WEATHER = exchange(ROME, body="x", temperature=0, metadata={})
MOVED = f'`body.messages[0].content` was "{ROME}", is "{OSLO}"'
START = "The same instructions. " * 50


@pytest.mark.parametrize(
    ("recorded", "content", "body", "said"),
    [
        ([exchange("Other", path="/prompt"), WEATHER], OSLO, {"temperature": 0}, ["line 2", MOVED]),
        ([WEATHER], ROME, {"temperature": 0.5}, ["`body.temperature` was 0, is 0.5", "{}, is missing"]),
        ([WEATHER], "A", {f"p{number}": number for number in range(9)}, ["and 7 more"]),
        ([exchange(f"{START}Ask Ann. {START}")], f"{START}Ask Bob. {START}", {}, ["Ask Ann", "Ask Bob"]),
        ([], "Hi", {}, ["holds nothing"]),
    ],
)
def test_request_that_was_not_recorded_gets_the_nearest_one_and_the_difference(path, recorded, content, body, said):
    with PromptrunServer.replay(written(path, *recorded)) as server:
        answer = post(server, content, **body)
        assert (answer.status_code, len(server.unused), len(server.missing)) == (400, len(recorded), 1)
    message = answer.json()["error"]["message"]
    assert [part for part in said if part not in message] == []
    assert len(message) < 1_000


def test_match_decides_what_is_equal_what_is_nearest_and_what_differs_and_may_fail(path):
    def match(request):
        return request["body"] | {"messages": None}

    near = [exchange("Today is Mon", body=body) for body in ("first", "second")]
    with PromptrunServer.replay(written(path, exchange("Tue", top_p=0.5, seed=1), *near), match=match) as server:
        assert [post(server, "Today is Wed").text for _ in range(2)] == ["first", "second"]
        assert "line 2: `temperature` was missing, is 1." in post(server, "Tue", temperature=1).text
        failed = httpx.get(f"{server.base_url}/prompt", trust_env=False)  # its body is no mapping
    assert (failed.status_code, "`match` failed for GET /prompt" in failed.text) == (400, True)


@pytest.mark.parametrize(
    ("line", "options", "said"),
    [
        *(
            (line, {}, "answers.jsonl, line 2: this is not a recorded exchange")
            for line in ("no JSON", "3", '{"request":1}', '{"request":{"method":"GET"},"response":{}}')
        ),
        *(("", options, "above 0") for options in ({"slices": 0}, {"slices": -1}, {"speed": -1}, {"speed": 0})),
        ("", {"match": lambda request: request["gone"]}, "`match` failed for POST /chat/completions of .*answers"),
    ],
)
def test_replay_refuses_lines_that_are_no_exchange_and_impossible_options(path, line, options, said):
    written(path, exchange("Hi"))
    path.write_text(f"{path.read_text()}{line}\n")
    with pytest.raises(ValueError, match=said):
        PromptrunServer.replay(path, **options)


def test_missing_file_unknown_option_and_address_that_is_no_url_are_refused(path):
    with pytest.raises(FileNotFoundError, match="Record it"):
        PromptrunServer.replay(path)
    with pytest.raises(TypeError, match="no option `redact_email`"):
        PromptrunServer.record(path, redact_email=True)
    with pytest.raises(ValueError, match=r"'127\.0\.0\.1:9/v1'"):
        PromptrunServer.record(path, "127.0.0.1:9/v1")


def test_speed_keeps_the_recorded_pauses_and_slices_the_whole_body(path):
    body = "".join(f"data: {number}\n\n" for number in range(4))
    entry = exchange("Hi", body=body, answer={"pieces": [[0.05, 9]] * 4, "delay": 0.1})
    written(path, *[entry] * 4)

    def seconds(**options):
        with PromptrunServer.replay(path, **options) as server:
            start = time.monotonic()
            assert post(server).text == body
            return time.monotonic() - start

    assert seconds(speed=1) >= 0.3
    assert seconds(speed=10) >= 0.03
    assert seconds(speed=1, slices=6) >= 0.3
    with PromptrunServer.replay(path) as server:
        assert min(post(server).elapsed.total_seconds() for _ in range(3)) < 0.1
    with PromptrunServer.replay(path, slices=lambda body: [body[:2]]) as server:
        assert "`slices` must give the pieces of the whole body" in post(server).json()["error"]["message"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(after=2, cut=True), httpx.RemoteProtocolError),
        (Fault(after=2, reset=True), httpx.ReadError),
        (Fault(reset=True), httpx.ReadError),
        (Fault(cut=True), httpx.RemoteProtocolError),
        (Fault(delay=math.inf), httpx.ReadTimeout),
        (Fault(after=1, pause=math.inf), httpx.ReadTimeout),
        (Fault(body=b"no gzip", headers=GZIPPED), httpx.RemoteProtocolError),
    ],
    ids=str,
)
def test_broken_answer_is_recorded_and_replayed_as_broken(upstream, path, fault, kind):
    def ask(server):
        got = []
        try:
            got.extend(pieces(server, timeout=0.5 if kind is httpx.ReadTimeout else 10))
        except httpx.TransportError as error:
            return type(error), b"".join(got)

    upstream.queue(fault)
    recorded, replayed = both(path, upstream, ask)
    assert recorded[0] is kind
    assert replayed == recorded


@pytest.mark.parametrize("client_leaves", [True, False])
def test_answer_that_the_client_or_the_recorder_leaves_ends_there_in_the_replay(upstream, path, client_leaves):
    upstream.queue(Fault(slices=[b"data: 1\n\n", 0.002] * 10_000))
    with record(path, upstream) as server:
        client = pieces(server)
        assert next(client) == b"data: 1\n\n"
        (client if client_leaves else server).close()
        upstream.wait_for_disconnects(timeout=30)
    client.close()
    response = lines(path)[0]["response"]
    assert (response["body"][:9], response["end"]) == ("data: 1\n\n", "cut")
    with PromptrunServer.replay(path) as server, pytest.raises(httpx.RemoteProtocolError):
        post(server, stream=True)


@pytest.fixture
def nowhere():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"


def test_upstream_that_cannot_be_reached_is_told_and_asked_again(upstream, path, nowhere, caplog):
    with PromptrunServer.record(path, nowhere) as server, pytest.raises(httpx.RemoteProtocolError):
        post(server)
    assert server.missing[0].startswith(f"The upstream {nowhere} cannot be reached: ")
    assert server.missing[0] in caplog.text
    (kept,) = lines(path)
    expected = {"status": None, "headers": {}, "delay": 0.0, "body": "", "pieces": [], "end": "unreachable"}
    assert kept["response"] == expected
    with PromptrunServer.replay(path) as server, pytest.raises(httpx.RemoteProtocolError):
        post(server)
    with record(path, upstream, keep=True) as server:
        assert post(server).status_code == 200


def test_faults_come_before_the_recording_or_happen_to_it(upstream, path):
    body = "data: 1\n\ndata: 2\n\n"
    written(path, *[exchange("Hi", body=body)] * 3, exchange("Hi", body=body, answer={"end": "cut"}))
    spoiling = Fault(after=1, error={"error": "late"})
    with PromptrunServer.replay(path) as server:
        server.queue(Fault(status=429), Reply("Queued."), Fault(body="own"))
        answers = [post(server) for _ in range(3)]
        assert (answers[0].status_code, "Queued." in answers[1].text, answers[2].text) == (429, True, "own")
        server.queue(Fault(after_bytes=9, cut="clean"), Fault(delay=0.01), spoiling, spoiling)
        spoiled = body + 'data: {"error":"late"}\n\n'
        assert [post(server).text for _ in range(4)] == ["data: 1\n\n", body, spoiled, spoiled]
        assert server.unused == []
    with record(path, upstream) as server:
        with pytest.raises(ValueError, match="This server records"):
            server.queue(spoiling)
        server.queue(Fault(status=429))
        assert [post(server).status_code for _ in range(2)] == [429, 200]
    with PromptrunServer.replay(path) as server:
        server.queue(spoiling)
        assert post(server).json() == {"error": "late"}  # in place of a whole answer


ODD_HEAD = b"HTTP/1.1 200 OK\r\nTRANSFER-Encoding: chunked\r\nX-Request-ID: caf\xc3\xa9\r\n\r\n"
ODD_BODY = b"3\r\nabc\r\n0\r\ntrailer: x\r\n\r\n"


def test_compressed_binary_and_odd_answers_are_recorded(upstream, path):
    upstream.queue(
        Fault(body="text " * 100, framing="chunked", encoding="gzip", headers=GZIPPED),
        Fault(body=b"\xff\x00"),
        Fault(body=b"odd", headers={"content-encoding": "odd"}),
        Fault(slices=[ODD_HEAD + ODD_BODY], framing="raw"),
    )
    upstream.queue(Fault(body=f"{KEY} is wrong".encode("utf-16")))

    def ask(server):
        found = [post(server, content) for content in "abcde"]
        assert dict(found[3].headers.raw)[b"x-request-id"] == b"caf\xc3\xa9"
        with client(**{"http-prompt-id": "p1", "connection": "close"}) as http:
            found += [http.put(f"{server.base_url}/x?a={number}", content=b"\xfe") for number in range(3)]
        assert [answer.status_code for answer in found] == [200] * 5 + [404] * 3
        return [answer.content for answer in found if b"w\0r\0o\0n\0g" not in answer.content]

    recorded, replayed = both(path, upstream, ask)
    assert replayed == recorded
    assert recorded[:4] == [b"text " * 100, b"\xff\x00", b"odd", b"abc"]
    _, binary, odd, _, wide, put, *_ = lines(path)
    assert "\0".join(KEY).encode() not in base64.b64decode(wide["response"]["body"]["base64"])
    assert put["request"] | {"query": {"a": "0"}, "body": {"base64": "/g=="}, "prompt_id": "p1"} == put["request"]
    assert binary["response"]["body"] == {"base64": "/wA="}
    assert odd["response"]["headers"]["content-encoding"] == "odd"


def test_answers_without_a_body_leave_the_connection_usable(upstream, path):
    def ask(server):
        with client() as http:
            chat = [http.post(f"{server.base_url}/chat/completions", json=asking("Hi")) for _ in range(2)]
            answers = [http.head(f"{server.base_url}/x"), *chat, http.get(f"{server.base_url}/prompt")]
        assert [record.connection for record in server.requests] == [1] * 4
        return [(answer.status_code, answer.content) for answer in answers]

    upstream.queue(Fault(status=204), Fault(status=304))
    recorded, replayed = both(path, upstream, ask)
    assert [status for status, _ in recorded] == [404, 204, 304, 400]
    assert replayed == recorded


def test_odd_requests_pass_the_recorder(upstream, path):
    """A header in Latin-1, a target with the whole address, half of a surrogate pair, and a wait for `100 Continue`."""
    body = json.dumps(asking("\ud83d")).encode()
    head = f"authorization: Bearer {KEY}\r\nx: caf\xe9\r\nexpect: 100-continue\r\nconnection: close\r\nhost: x"
    lines_of_head = f"POST http://api.example/v1/chat/completions HTTP/1.1\r\n{head}\r\ncontent-length: {len(body)}"

    def ask(server):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(f"{lines_of_head}\r\n\r\n".encode("latin-1"))
            assert client.recv(1_000) == b"HTTP/1.1 100 \r\n\r\n"
            client.sendall(body)
            return b"".join(iter(lambda: client.recv(65_536), b"")).partition(b"\r\n\r\n")[2]

    recorded, replayed = both(path, upstream, ask)
    assert replayed == recorded
    assert b"You said" in recorded
    assert upstream.requests[0].headers["x"] == "caf\xe9"
    assert "expect" not in upstream.requests[0].headers


def test_recorded_wait_is_kept_unless_answers_come_at_once_and_cookies_go_to_no_other_caller(upstream, path):
    headers = {"retry-after": "20", "set-cookie": "session=ann"}
    upstream.queue(Fault(status=429, headers=headers), "Done.")
    with record(path, upstream) as server:
        assert headers.items() <= dict(post(server).headers).items()
        post(server)
    assert "cookie" not in upstream.requests[1].headers
    with PromptrunServer.replay(path) as server:
        assert ChatPromptrun(model="a/b", api_key=KEY, base_url=server.base_url).invoke("Hi").text == "Done."
    with PromptrunServer.replay(path, speed=100) as server:
        assert post(server).headers["retry-after"] == "20"


def test_recorder_begins_anew_at_its_first_answer_unless_it_keeps_what_there_is(upstream, path):
    server = record(written(path, exchange("older")), upstream)
    with server:
        assert len(lines(path)) == 1  # only an answer takes the place of what there is
    for content in ("first", "second"):
        with server:
            post(server, content)
    path.write_text(path.read_text().rstrip("\n"))  # as an editor may leave it
    with record(path, upstream, keep=True) as server:
        assert [post(server, content).status_code for content in ("first", "new")] == [200, 200]
    assert len(upstream.requests) == len(lines(path)) == 3


def test_concurrent_exchanges_are_all_written(upstream, path):
    def ask(server):
        return [message.text for message in model_at(server).batch([f"Number {number}" for number in range(40)])]

    recorded, replayed = both(path, upstream, ask)
    assert replayed == recorded


# The pytest fixture.

CONFTEST = 'pytest_plugins = ["langchain_promptrun.testing.plugin"]\n'
OPTIONS = """
import pytest

@pytest.fixture
def promptrun_cassette_options():
    return {"match": lambda request: request["path"]}
"""
TESTS = """
import os
import pytest
from langchain_promptrun import ChatPromptrun

@pytest.mark.parametrize("name", ["Ann", "it's", "Bob/../x"])
async def test_says(promptrun_cassette, name):
    assert os.environ["PROMPTRUN_BASE_URL"] == promptrun_cassette.base_url
    assert os.environ["PROMPTRUN_API_KEY"] == promptrun_cassette.api_key
    message = await ChatPromptrun(model="a/b").ainvoke(f"I am {name}")
    assert name in message.text
"""


@pytest.fixture
def connect(monkeypatch):
    def connect(base_url):
        monkeypatch.setenv("PROMPTRUN_API_KEY", KEY)
        monkeypatch.setenv("PROMPTRUN_BASE_URL", base_url)

    return connect


@pytest.fixture
def project(pytester, monkeypatch):
    for name in ("CI", "PROMPTRUN_API_KEY", "PROMPTRUN_BASE_URL", "PYTEST_ADDOPTS", "COV_CORE_DATAFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_asyncio.plugin")
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(test_it=TESTS)
    return pytester


def run(project, *arguments, **outcomes):
    result = project.runpytest_inprocess("-p", "no:cacheprovider", "-q", *arguments)
    result.assert_outcomes(**outcomes)
    return result.stdout.str()


def test_fixture_records_once_and_replays_without_a_key(project, upstream, monkeypatch, connect):
    connect(upstream.base_url)
    run(project, passed=3)
    files = sorted((project.path / "cassettes" / "test_it").iterdir())
    assert [file.suffix for file in files] == [".jsonl"] * 3
    assert files[0].name == "test_says[Ann].jsonl"
    assert KEY not in "".join(file.read_text() for file in files)
    monkeypatch.delenv("PROMPTRUN_API_KEY")
    monkeypatch.setenv("PROMPTRUN_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("CI", "true")
    run(project, passed=3)
    assert len(upstream.requests) == 3


def test_fixture_says_how_to_record_what_is_missing_and_takes_options(project, upstream, connect):
    printed = run(project, "--promptrun-record", "none", errors=3)
    assert "pytest 'test_it.py::test_says[Ann]' --promptrun-record once" in printed
    assert """pytest 'test_it.py::test_says[it'"'"'s]' --promptrun-record once""" in printed
    assert "PROMPTRUN_API_KEY" in run(project, errors=3)
    connect(upstream.base_url)
    run(project, passed=3)
    project.makepyfile(test_it=TESTS.replace("I am", "My name is"))
    printed = run(project, failed=3, errors=3)
    assert "--promptrun-record new" in printed
    assert 'is "My name is Ann"' in printed
    run(project, "--promptrun-record", "new", passed=3)
    files = list((project.path / "cassettes" / "test_it").iterdir())
    assert [len(lines(file)) for file in files] == [2] * 3
    run(project, "--promptrun-record", "all", passed=3)
    assert [len(lines(file)) for file in files] == [1] * 3
    project.makeconftest(CONFTEST + OPTIONS)
    project.makepyfile(test_it=TESTS.replace("I am", "They call me"))
    run(project, "--promptrun-record", "none", passed=3)


def test_fixture_records_again_what_holds_failed_connections_alone(project, upstream, nowhere, connect):
    connect(nowhere)
    assert "cannot be reached" in run(project, "-k", "Ann", failed=1, errors=1)
    printed = run(project, "-k", "Ann", "--promptrun-record=none", errors=1)
    assert "holds failed connections alone. Record it: pytest" in printed
    connect(upstream.base_url)
    run(project, "-k", "Ann", passed=1)
    run(project, "-k", "Ann", "--promptrun-record=none", passed=1)


# The command line.

PROGRAM = [sys.executable, "-m", "langchain_promptrun"]
ASK = """
import json, os, sys, urllib.request
body = {"model": "a/b", "messages": [{"role": "user", "content": sys.argv[1]}]}
headers = {"authorization": "Bearer " + os.environ["PROMPTRUN_API_KEY"]}
url = os.environ["PROMPTRUN_BASE_URL"] + "/chat/completions"
with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)) as answer:
    print(json.load(answer)["choices"][0]["message"]["content"])
sys.exit(3)
"""


def environment(base_url):
    return os.environ | {"PROMPTRUN_API_KEY": KEY, "PROMPTRUN_BASE_URL": base_url}


def test_cli_records_a_command_and_replays_for_any_program(upstream, path):
    program = [sys.executable, "-S", "-c", ASK, f"I am {EMAIL}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [*PROGRAM, "record", "--redact-emails", "--out", str(path), "--", *program]
    done = subprocess.run(command, env=environment(upstream.base_url), timeout=60, check=False, **pipes)
    assert (done.returncode, done.stdout) == (3, f"Hello! You said: I am {EMAIL}\n")
    assert str(path) in done.stderr
    assert EMAIL not in path.read_text()
    serving = subprocess.Popen([*PROGRAM, "replay", str(path), "--redact-emails"], env=environment(""), **pipes)
    base_url = serving.stdout.readline().strip()
    again = subprocess.run(program, env=environment(base_url), timeout=60, check=False, **pipes)
    assert again.stdout == "Hello! You said: I am [redacted]\n"
    serving.send_signal(signal.SIGTERM)
    _, said = serving.communicate(timeout=20)
    assert "not asked for: 0" in said
    assert serving.returncode == 130
    assert len(upstream.requests) == 1


ASK_IN_VAIN = ASK.replace("with urllib", "import contextlib\nwith contextlib.suppress(Exception), urllib")
KILL = "import os; os.kill(os.getpid(), 9)"


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        (["record", "--out", "x.jsonl"], 1, "after `--`"),
        (["record", "--out", "x.jsonl", "--", "no-such-program"], 1, "no-such-program"),
        (["record", "--out", ".", "--", "no-such-program"], 1, "Is a directory: '.'"),
        (["record", "--out", "x.jsonl", "--", sys.executable, "-S", "-c", KILL], 137, "recording to"),
        (["record", "--out", "x.jsonl", "--", sys.executable, "-S", "-c", ASK_IN_VAIN, "Hi"], 3, "cannot be reached"),
        (["replay", "no-such-file.jsonl"], 1, "no-such-file.jsonl"),
        (["replay", "x.jsonl", "--port", "99999"], 1, "port must be 0-65535"),
        (["replay", __file__], 1, "line 1: this is not a recorded exchange"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket")  # that Python leaves open for an impossible port
def test_cli_says_what_is_wrong_with_a_recording(
    tmp_path, monkeypatch, cli, nowhere, connect, arguments, status, named
):
    before = written(tmp_path / "x.jsonl", exchange("Hi")).read_text()
    monkeypatch.chdir(tmp_path)
    connect(nowhere)
    ended = cli(*arguments)
    assert (ended.status, named in ended.err.splitlines()[-1]) == (status, True)
    assert ((tmp_path / "x.jsonl").read_text() == before) is (status != 3)  # only an answer begins it anew
