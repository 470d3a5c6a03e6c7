# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "langsmith", "requests"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""Traces in LangSmith that show what a call cost: with LANGSMITH_API_KEY set they go there, else they are printed."""

from __future__ import annotations

import json
import os
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests
from langsmith import Client
from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.tracing import CostTracer

if TYPE_CHECKING:
    from langchain_promptrun.testing import PromptrunServer


class Shelf(requests.Session):
    """Keeps what would go to LangSmith."""

    def __init__(self) -> None:
        super().__init__()
        self.documents: list[dict[str, Any]] = []

    def request(self, *_: Any, **request: Any) -> requests.Response:
        """Keep a document and accept it."""
        self.documents.append(json.loads(request["data"]))
        response = requests.Response()
        response.status_code = HTTPStatus.ACCEPTED
        return response

    def run(self) -> dict[str, Any]:
        """Return the one run that was recorded: its last state, over what only its start says."""
        return {key: value for document in self.documents for key, value in document.items() if value is not None}


def client_and_shelf() -> tuple[Client, Shelf]:
    """Build a client whose documents stay here."""
    shelf = Shelf()
    client = Client("https://langsmith.invalid", api_key="none", session=shelf, auto_batch_tracing=False, info={})
    return client, shelf


def ask(tracer: CostTracer) -> str:
    """Ask something with overrides of the model's settings, all of which the trace shows."""
    model = ChatPromptrun(model="anthropic/claude-haiku-4.5", temperature=0.2, max_tokens=200)
    return model.invoke("Name a star.", {"callbacks": [tracer]}, temperature=0.9, stop=["Betelgeuse"]).text


def rehearse(server: PromptrunServer) -> None:
    """Name a price."""
    server.cost_per_token = 0.000002


def main() -> None:
    """Ask, and send or show the trace."""
    if os.environ.get("LANGSMITH_API_KEY"):
        client = Client()
        print(ask(CostTracer(client=client)))
        client.flush()
        return
    client, shelf = client_and_shelf()
    print(ask(CostTracer(client=client)))
    print(json.dumps(shelf.run()["extra"], indent=2))


if __name__ == "__main__":
    run(main, rehearse)
