# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""Record answers once, and replay them without a key: as they came, cut short, and when another question is asked."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun, PromptrunError
from langchain_promptrun.testing import Fault, PromptrunServer

QUESTION = "Tell me a fun fact about space."


def ask(model: ChatPromptrun, question: str = QUESTION) -> str:
    """Stream an answer; an error is said."""
    try:
        return "".join(chunk.text for chunk in model.stream(question))
    except PromptrunError as error:
        return f"{type(error).__name__}: {error}"


def record(path: Path) -> str:
    """Ask through a server that records; the key is that of the environment."""
    with PromptrunServer.record(path) as server:
        return ask(ChatPromptrun(model="openai/gpt-4o", base_url=server.base_url))


def replay(path: Path) -> tuple[str, str, str]:
    """Return the recorded answer, what a cut connection makes of it, and the error of a question not recorded."""
    with PromptrunServer.replay(path, slices=16) as server:
        answer = ask(ChatPromptrun(model="openai/gpt-4o", base_url=server.base_url, api_key=server.api_key))
    with PromptrunServer.replay(path) as server:
        model = ChatPromptrun(model="openai/gpt-4o", base_url=server.base_url, api_key=server.api_key)
        server.queue(Fault(after=3, cut=True))
        return answer, ask(model), ask(model, "Something else")


def main() -> None:
    """Record, and replay."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "answers.jsonl"
        print("recorded:", record(path))
        for said in replay(path):
            print("replayed:", said)


if __name__ == "__main__":
    run(main)
