# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "gradio"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""A chat in the browser: answers stream, reasoning folds, tools run, and Stop closes the request to the model.

Conversations stay in the browser. The server listens on this machine alone.
"""

from __future__ import annotations

import asyncio
import base64
import mimetypes
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

# Gradio reads this when it is imported: it reports its use to nobody.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

try:
    import gradio as gr
    from chat_rehearsal import rehearse
    from endings import clear_ending, say
    from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
    from langchain_core.tools import tool
    from promptrun_or_offline import answering, command_line

    from langchain_promptrun import ChatPromptrun, PromptrunError
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"error: {missing.name.partition('.')[0]} is not installed: use `uv run examples/web_chat.py`, "
        "or `pip install --group apps --editable .` first (pip 25.1 or newer)"
    ) from missing
except KeyboardInterrupt:  # the import of Gradio takes seconds
    raise SystemExit from None

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

Shown = list[gr.ChatMessage]

HOST = "127.0.0.1"
MODELS = ["anthropic/claude-haiku-4.5", "anthropic/claude-sonnet-5", "openai/gpt-4o"]
MOST_ROUNDS = 5
"""So often the model may call tools before it has to answer."""
NOTE: dict[str, Any] = {"id": "note"}
"""Marks what is shown but never sent to the model."""
THEME = gr.themes.Default(
    primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
).set(button_primary_background_fill="*primary_600", button_primary_background_fill_dark="*primary_700")
CSS = """
footer {display: none !important}
.message.thought .prose {font-size: .85em !important}
body:not(.dark) .token:is(.function, .class-name) {color: #a8123e !important}
body:not(.dark) .token:is(.builtin, .string, .char, .selector, .attr-name) {color: #476a00 !important}
body:not(.dark) .token:is(.operator, .punctuation, .comment) {color: #5b5b5b !important}
@media (max-width: 640px) {
  h1 {font-size: 1.1rem !important; margin: 0 !important}
  main {padding: .5rem !important}
  .row > .column:has(> button.primary) {order: 2}
}
"""
# Gradio leaves these two without a name for screen readers.
HEAD = """<script>
new MutationObserver(() => {
  document.querySelectorAll("textarea.no-label").forEach(box => box.setAttribute("aria-label", "Message"));
  document.querySelectorAll(".thought-group button[aria-label='']").forEach(
    arrow => arrow.setAttribute("aria-label", "Show or hide"));
}).observe(document, {childList: true, subtree: true});
</script>"""


@tool
def tell_time(timezone: str) -> str:
    """Tell the time in a time zone such as Asia/Tbilisi."""
    return f"{datetime.now(ZoneInfo(timezone)):%H:%M}"


def build(model: ChatPromptrun) -> gr.ChatInterface:
    """Build the page around a model."""
    running: dict[str | None, asyncio.Task[Any] | None] = {}

    async def answer(
        message: str | dict[str, Any],
        history: list[dict[str, Any]],
        name: str,
        system: str,
        tools: bool,
        request: gr.Request,
    ) -> AsyncIterator[Shown]:
        running[request.session_hash] = asyncio.current_task()
        if isinstance(message, str):  # an edited one
            message = {"text": message, "files": []}
        messages = [SystemMessage(system)] if system.strip() else []
        messages += [*remembered(history), HumanMessage(content(message["text"], message["files"]))]
        options: dict[str, Any] = {"model": name or model.model}
        async with aclosing(converse(model.bind_tools([tell_time] if tools else []), messages, options)) as steps:
            async for shown in steps:
                yield shown

    async def leave(request: gr.Request) -> None:
        if task := running.pop(request.session_hash, None):
            task.cancel()

    page = gr.ChatInterface(
        answer,
        multimodal=True,
        editable=True,
        save_history=True,
        title="Promptrun chat",
        chatbot=gr.Chatbot(show_label=False, height="calc(100dvh - 15rem)", buttons=["copy", "copy_all"]),
        textbox=gr.MultimodalTextbox(file_types=["image"], file_count="multiple", stop_btn=True),
        additional_inputs=[
            gr.Dropdown(sorted({model.model, *MODELS}), value=model.model, label="Model", allow_custom_value=True),
            gr.Textbox("", label="System prompt", lines=2),
            gr.Checkbox(label="Tools: the model may ask for the time", value=True),
        ],
        additional_inputs_accordion=gr.Accordion("Model, system prompt and tools", open=False),
        concurrency_limit=None,
        api_visibility="private",
    )
    with page:
        page.unload(leave)
    return page


def remembered(history: list[dict[str, Any]]) -> list[BaseMessage]:
    """Convert what was shown to messages; reasoning, tool calls and notes are not sent again."""
    messages: list[BaseMessage] = []
    for turn in history:
        if turn.get("metadata"):
            continue
        text = "".join(part["text"] for part in turn["content"] if part["type"] == "text")
        files = [part["file"]["path"] for part in turn["content"] if part["type"] == "file"]
        messages.append(HumanMessage(content(text, files)) if turn["role"] == "user" else AIMessage(text))
    return messages


def content(text: str, files: list[str]) -> list[str | dict[str, Any]]:
    """Put a text and images into LangChain's standard blocks."""
    blocks: list[str | dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    for file in files:
        data = base64.b64encode(Path(file).read_bytes()).decode()
        blocks.append({"type": "image", "base64": data, "mime_type": mimetypes.guess_type(file)[0] or "image/png"})
    return blocks


async def converse(model: Any, messages: list[BaseMessage], options: dict[str, Any]) -> AsyncIterator[Shown]:
    """Stream an answer, run the tools that it asks for, and let the model go on; yield all that is shown so far."""
    done: Shown = []
    try:
        for _ in range(MOST_ROUNDS):
            chunks: list[AIMessageChunk] = []
            # Closing the stream, also when Stop cancels this, closes the request to the model.
            async with aclosing(model.astream(messages, **options)) as stream:
                async for chunk in stream:
                    chunks.append(chunk)
                    yield [*done, *parts(chunks, running=True)]
            whole = sum(chunks[1:], chunks[0])
            done += parts(chunks, running=False)
            if not whole.tool_calls:
                break
            messages.append(whole)
            for call in whole.tool_calls:
                result = await tell_time.ainvoke(call)
                messages.append(result)
                title = f"{call['name']}({', '.join(map(str, call['args'].values()))})"
                done.append(gr.ChatMessage(str(result.content), metadata={"title": title, "status": "done"}))
            yield done
        yield [*done, note(facts(whole))]
    except PromptrunError as error:
        later = f" in {error.retry_after:.0f} seconds" if error.retry_after else ""
        yield [*done, note(f"**Error:** {error}\n\nTry again{later} with the round arrow below.")]


def parts(chunks: list[AIMessageChunk], *, running: bool) -> Shown:
    """Give what an answer shows: its reasoning, folded, and its text."""
    reasoning = "".join(chunk.additional_kwargs.get("reasoning_content", "") for chunk in chunks)
    text = "".join(chunk.text for chunk in chunks)
    shown = []
    if reasoning:
        status = "pending" if running and not text else "done"
        shown.append(gr.ChatMessage(reasoning, metadata={"title": "Reasoning", "status": status}))
    if text:
        shown.append(gr.ChatMessage(text))
    return shown


def note(text: str) -> gr.ChatMessage:
    """Show a line that is not part of the conversation."""
    return gr.ChatMessage(text, metadata=NOTE)


def facts(answer: AIMessageChunk) -> str:
    """Say what an answer took."""
    known = (
        []
        if answer.text
        else [f"The model gave no answer (finish reason: {answer.response_metadata.get('finish_reason')})."]
    )
    if usage := answer.usage_metadata:
        known.append(f"tokens: {usage['input_tokens']:,} in, {usage['output_tokens']:,} out")
    if (cost := answer.response_metadata.get("cost")) is not None:
        known.append(f"${Decimal(repr(cost)):f}")
    return " · ".join(known)


def usable(port: int) -> int:
    """Check that a port is free; 0 finds a free one."""
    try:
        with socket.create_server((HOST, port)) as listener:
            return listener.getsockname()[1]
    except (OSError, OverflowError) as error:
        sys.exit(f"error: port {port} cannot be used ({error}): name another one with --port")


def main() -> None:
    """Serve until Ctrl-C."""
    parser = command_line()
    parser.add_argument("--model", default=MODELS[0], help="vendor/name (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="0: a free one (default: %(default)s)")
    arguments = parser.parse_args()
    with clear_ending(), answering(arguments, rehearse), ChatPromptrun(model=arguments.model) as model:
        page = build(model)
        _, url, _ = page.launch(
            server_name=HOST,
            server_port=usable(arguments.port),
            prevent_thread_lock=True,
            quiet=True,
            footer_links=[],
            theme=THEME,
            css=CSS,
            head=HEAD,
        )
        with suppress(KeyboardInterrupt):
            say(f"web chat at {url} (Ctrl-C ends it)")
            threading.Event().wait()
        page.close(verbose=False)


if __name__ == "__main__":
    main()
