# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "sse-starlette", "starlette", "uvicorn"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""A chat in the browser: the answer comes token by token, and stopping it stops the model, too.

The page, `web_chat.html`, keeps the conversation in the browser: each tab its own, and a new tab goes on from the last.
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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

try:
    import uvicorn
    from chat_rehearsal import rehearse
    from endings import clear_ending, say
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
        f"error: {missing.name.partition('.')[0]} is not installed: use `uv run examples/web_chat.py`, "
        "or `pip install --group apps --editable .` first (pip 25.1 or newer)"
    ) from missing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

PAGE = Path(__file__).with_name("web_chat.html").read_text("utf-8")
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
        parts = "Not a conversation", ".".join(map(str, fault["loc"])), fault["msg"]
        raise HTTPException(400, ": ".join(filter(None, parts)) + ".") from error
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


def port(text: str) -> int:
    """Read the number of a port."""
    if (number := int(text)) not in range(2**16):
        raise ValueError
    return number


def main() -> None:
    """Serve until Ctrl-C."""
    parser = command_line()
    parser.add_argument("--model", default="anthropic/claude-haiku-4.5", help="vendor/name (default: %(default)s)")
    parser.add_argument("--port", type=port, default=8000, help="0: a free one (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        listener = socket.create_server((HOST, arguments.port))
    except OSError as error:
        sys.exit(f"error: port {arguments.port} cannot be used ({error}): name another one with --port")
    # What Ctrl-C cuts off is no fault of the server's.
    logging.getLogger("uvicorn.error").addFilter(lambda record: "without completing" not in record.getMessage())
    with listener, clear_ending(), answering(arguments, rehearse), suppress(KeyboardInterrupt):
        model = ChatPromptrun(model=arguments.model)
        say(f"web chat at http://{HOST}:{listener.getsockname()[1]} (Ctrl-C ends it)")
        # Whether colours fit, uvicorn would ask stdout, which may be closed.
        options = {"log_level": "warning", "use_colors": False, "ws": "none", "timeout_graceful_shutdown": 3}
        uvicorn.Server(uvicorn.Config(app(model), **options)).run(sockets=[listener])


if __name__ == "__main__":
    main()
