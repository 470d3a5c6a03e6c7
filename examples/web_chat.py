# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "sse-starlette", "starlette", "uvicorn"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""A chat in the browser: the answer comes token by token, and stopping it stops the model, too.

The page is all here, and keeps the conversation in the browser: each tab its own, and a new tab goes on from the last.
The server keeps nothing: it passes a conversation to the model, and the answer back as server-sent events. It listens
on this machine alone.
"""

from __future__ import annotations

import html
import json
import logging
import secrets
import socket
import sys
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

try:
    import uvicorn
    from chat_rehearsal import rehearse
    from promptrun_or_offline import answering, command_line
    from pydantic import BaseModel, Field, ValidationError
    from sse_starlette import EventSourceResponse
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import HTMLResponse
    from starlette.routing import Route

    from langchain_promptrun import ChatPromptrun, PromptrunError
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"error: {missing.name} is not installed: use `uv run examples/web_chat.py`, "
        "or `pip install --group apps --editable .` first"
    ) from missing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

HOST = "127.0.0.1"
MOST_CHARACTERS = 20_000
MOST_BYTES = 1_000_000
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Turn(BaseModel):
    """What one side said."""

    role: Literal["user", "assistant"]
    content: str


class Conversation(BaseModel):
    """What the page sends."""

    messages: list[Turn] = Field(min_length=1)


def app(model: ChatPromptrun) -> Starlette:
    """Build the web application."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, ChatPromptrun]]:
        yield {"model": model}
        await model.aclose()

    # Other sites must not reach this machine's chat by a name of theirs that leads here.
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    routes = [Route("/", page), Route("/chat", chat, methods=["POST"])]
    return Starlette(routes=routes, middleware=[hosts], lifespan=lifespan)


async def page(request: Request) -> HTMLResponse:
    """Give the page. Nothing in it runs but its own script, whatever the model writes."""
    nonce = secrets.token_urlsafe()
    text = PAGE.replace("{nonce}", nonce).replace("{most}", str(MOST_CHARACTERS))
    text = text.replace("{model}", html.escape(request.state.model.model))
    return HTMLResponse(text, headers={"Content-Security-Policy": POLICY.format(nonce=nonce)})


async def chat(request: Request) -> EventSourceResponse:
    """Answer a conversation. When the browser goes away, the answer is cancelled."""
    messages = [turn.model_dump() for turn in await conversation(request)]
    return EventSourceResponse(events(request.state.model, messages), sep="\n")


async def conversation(request: Request) -> list[Turn]:
    """Read what the page sends.

    Raises:
        HTTPException: It is not a conversation that ends with a question.
    """
    kind, _, _ = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower() != "application/json":  # which no page of another site can send here
        raise HTTPException(415, "Send JSON.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise HTTPException(413, "This conversation has grown too long: start a new one.")
    try:
        turns = Conversation.model_validate_json(body).messages
    except ValidationError as error:
        fault = error.errors()[0]
        raise HTTPException(400, f"Not a conversation: {'.'.join(map(str, fault['loc']))}: {fault['msg']}.") from error
    question = turns[-1]
    if question.role != "user" or not question.content.strip():
        raise HTTPException(400, "There is no question.")
    if len(question.content) > MOST_CHARACTERS:
        raise HTTPException(413, f"A message may have at most {MOST_CHARACTERS:,} characters.")
    return turns


async def events(model: ChatPromptrun, messages: list[dict[str, Any]]) -> AsyncIterator[str]:
    """Ask the model; give each piece of text, and last what it took, or what went wrong."""
    end: dict[str, Any] = {"tokens": None, "cost": None}
    said, only, reason = False, "", None
    try:
        # Closing the stream, also when this is cancelled, closes the request to the model.
        async with aclosing(model.astream(messages)) as answer:
            async for chunk in answer:
                if chunk.text:
                    said = True
                    yield json.dumps({"text": chunk.text})
                if chunk.additional_kwargs.get("reasoning_content"):
                    only = ", only reasoning"
                if usage := chunk.usage_metadata:
                    end["tokens"] = f"tokens: {usage['input_tokens']:,} in, {usage['output_tokens']:,} out"
                end["cost"] = chunk.response_metadata.get("cost", end["cost"])
                reason = chunk.response_metadata.get("finish_reason", reason)
    except PromptrunError as error:
        yield json.dumps({"error": str(error), "retry_after": error.retry_after})
    except Exception:
        logging.getLogger(__name__).exception("The answer failed.")
        yield json.dumps({"error": "Something went wrong in this chat's server; its terminal says what."})
    else:
        nothing = {"error": f"The model gave no answer{only} (finish reason: {reason})."}
        yield json.dumps({"end": end} if said else nothing)


PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Promptrun chat</title>
<link rel="icon" href="data:,">
<style nonce="{nonce}">
  :root { color-scheme: light dark; --line: light-dark(#dfe3e8, #333a44); --soft: light-dark(#5b6573, #9aa5b4);
    --back: light-dark(#f6f7f9, #14171c); --card: light-dark(#fff, #1d2229); --own: light-dark(#dfeafe, #24406e);
    --strong: light-dark(#1f5fd6, #79a7ff); --wrong: light-dark(#a1260d, #ff9d88) }
  * { box-sizing: border-box }
  body { margin: 0; height: 100dvh; display: flex; flex-direction: column; background: var(--back);
    font: 16px/1.5 system-ui, sans-serif }
  header, form, #log { width: 100%; max-width: 46rem; margin: 0 auto; padding: .8rem 1rem }
  header { display: flex; align-items: baseline; gap: .8rem }
  h1 { font-size: 1.1rem; margin: 0 }
  header span { flex: 1; color: var(--soft); font-size: .85rem }
  #log { flex: 1; overflow-y: auto; scrollbar-width: thin; display: flex; flex-direction: column; gap: .7rem }
  #log:empty::before { content: "Ask something."; color: var(--soft); margin: auto }
  article { max-width: 85%; padding: .6rem .9rem; border: 1px solid var(--line); border-radius: .9rem;
    background: var(--card); white-space: pre-wrap; overflow-wrap: anywhere }
  article.user { align-self: flex-end; background: var(--own); border-color: transparent }
  article.assistant { align-self: flex-start }
  small { display: block; margin-top: .3rem; color: var(--soft); font-size: .8rem }
  #problem { color: var(--wrong); border: 1px solid; border-radius: .9rem; padding: .6rem .9rem; margin: 0 }
  #problem:empty, small:empty, [hidden] { display: none !important }
  form { display: flex; flex-wrap: wrap; gap: .3rem .6rem; align-items: end }
  label, #problem { width: 100% }
  label { color: var(--soft); font-size: .85rem }
  textarea, button { font: inherit; color: inherit; border: 1px solid var(--line); border-radius: .7rem;
    padding: .5rem .9rem; background: var(--card) }
  textarea { flex: 1; resize: none; field-sizing: content; min-height: 2.6rem; max-height: 10rem }
  #send, #stop { color: #fff; background: #1f5fd6; border-color: #1f5fd6 }
  :focus-visible { outline: 2px solid var(--strong); outline-offset: 1px }
</style>
</head>
<body>
<header><h1>Promptrun chat</h1><span>{model}</span><button id="new" type="button">New chat</button></header>
<main id="log" role="log" aria-label="Conversation" tabindex="0"></main>
<form id="form">
  <p id="problem" role="alert"></p>
  <label for="question">Your message (Enter sends, Shift+Enter starts a line, Esc stops the answer)</label>
  <textarea id="question" rows="1" autofocus></textarea>
  <button id="again" type="button" hidden>Try again</button>
  <button id="send">Send</button>
  <button id="stop" type="button" hidden>Stop</button>
</form>
<script nonce="{nonce}" type="module">
const [log, form, question, problem, again, send, stop, fresh] =
  ["log", "form", "question", "problem", "again", "send", "stop", "new"].map((id) => document.getElementById(id));
const LOST = "The connection to this chat's server was lost. The conversation is kept here.";
const FULL = "This browser has no room left to keep the conversation: it will be gone when you close the page.";
const CUT = "This answer is not whole.";
const STOPPED = "Stopped.";
const DOLLARS = new Intl.NumberFormat("en", { style: "currency", currency: "USD", maximumSignificantDigits: 3 });
let turns = [];
let kept = "[]";
let running = null;  // aborts the answer under way

function load() {
  try {
    kept = sessionStorage.getItem("turns") ?? localStorage.getItem("turns") ?? kept;
    turns = JSON.parse(kept);
    turns.forEach(show);
  } catch {
    clear();
  }
  offerAgain();
}

function clear() {
  turns = [];
  log.replaceChildren();
}

// The session's store is this tab's alone. From the other a new tab goes on; an empty chat replaces only its own there.
function keep() {
  const before = kept;
  kept = JSON.stringify(turns);
  try {
    sessionStorage.setItem("turns", kept);
    if (turns.length || localStorage.getItem("turns") === before) localStorage.setItem("turns", kept);
  } catch {
    problem.textContent ||= FULL;
  }
}

function offerAgain() {
  again.hidden = !(turns.at(-1)?.role === "user" || turns.at(-1)?.note === CUT);
}

// Texts only ever become text, never markup.
function show(turn) {
  const article = document.createElement("article");
  article.className = turn.role;
  article.setAttribute("aria-label", turn.role === "user" ? "You" : "Answer");
  const text = article.appendChild(document.createElement("div"));
  const note = article.appendChild(document.createElement("small"));
  text.textContent = turn.content;
  note.textContent = turn.note ?? "";
  log.append(article);
  log.scrollTop = log.scrollHeight;
  return { article, text, note };
}

function busy(controller) {
  running = controller;
  send.hidden = Boolean(controller);
  stop.hidden = !controller;
  log.setAttribute("aria-busy", Boolean(controller));
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\\n");
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data: ")) yield JSON.parse(line.slice(6));
  }
}

// Adds what comes to the turn and tells what went wrong; null: nothing did.
async function receive(response, turn, bubble) {
  for await (const event of events(response)) {
    if (event.text) {
      const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
      if (!turn.content) {
        turns.push(turn);
        bubble.note.textContent = "Writing…";
      }
      turn.content += event.text;
      bubble.text.append(event.text);
      if (atEnd) log.scrollTop = log.scrollHeight;
    } else if (event.end) {
      const { tokens, cost } = event.end;
      turn.note = [tokens, cost === null ? "" : DOLLARS.format(cost)].filter(Boolean).join(" · ");
      return null;
    } else {
      return event.error + (event.retry_after ? ` Try again in ${Math.ceil(event.retry_after)} seconds.` : "");
    }
  }
  return LOST;
}

async function answer() {
  const controller = new AbortController();
  const messages = turns.map(({ role, content }) => ({ role, content }));
  const turn = { role: "assistant", content: "", note: CUT };
  const bubble = show({ ...turn, note: "Thinking…" });
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, signal: controller.signal };
  let wrong = null;
  problem.textContent = "";
  again.hidden = true;
  busy(controller);
  try {
    const response = await fetch("/chat", { ...options, body: JSON.stringify({ messages }) });
    wrong = response.ok ? await receive(response, turn, bubble) : await response.text();
  } catch (error) {
    if (!controller.signal.aborted) wrong = LOST;
  }
  if (controller.signal.aborted) turn.note = controller.signal.reason;
  bubble.note.textContent = turn.note;
  if (!turn.content) bubble.article.remove();
  offerAgain();
  problem.textContent = wrong ?? "";
  keep();
  busy(null);
  question.focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const content = question.value.trim();
  if (running) return;
  if (!content) { problem.textContent = "Write a message first."; return; }
  if (content.length > {most}) {
    problem.textContent = `A message may have at most {most} characters; this one has ${content.length}.`;
    return;
  }
  turns.push({ role: "user", content });
  show(turns.at(-1));
  question.value = "";
  keep();
  answer();
});
question.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") running?.abort(STOPPED); });
stop.addEventListener("click", () => running?.abort(STOPPED));
again.addEventListener("click", () => {
  if (turns.at(-1)?.role === "assistant") { turns.pop(); log.lastElementChild.remove(); }
  answer();
});
fresh.addEventListener("click", () => {
  if (running) return;
  clear();
  problem.textContent = "";
  again.hidden = true;
  keep();
  question.focus();
});
addEventListener("pagehide", () => { running?.abort(CUT); keep(); });
load();
</script>
</body>
</html>
"""


def port(text: str) -> int:
    """Read the number of a port."""
    if (number := int(text)) not in range(2**16):
        raise ValueError
    return number


def main() -> None:
    """Serve until Ctrl-C."""
    parser = command_line()
    parser.add_argument("--model", default="anthropic/claude-3.5-haiku", help="vendor/name (default: %(default)s)")
    parser.add_argument("--port", type=port, default=8000, help="0: a free one (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        listener = socket.create_server((HOST, arguments.port))
    except OSError as error:
        sys.exit(f"error: port {arguments.port} cannot be used ({error}): name another one with --port")
    with listener, answering(arguments, rehearse), suppress(KeyboardInterrupt):
        try:
            model = ChatPromptrun(model=arguments.model)
        except ValidationError as error:
            sys.exit(f"error: {error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}")
        print(f"web chat at http://{HOST}:{listener.getsockname()[1]} (Ctrl-C ends it)", flush=True)
        config = uvicorn.Config(app(model), log_level="warning", ws="none", timeout_graceful_shutdown=3)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
