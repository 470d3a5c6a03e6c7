"""What the stand-in says in `web_chat.py` and `terminal_chat.py`: it takes its time, and fails when asked to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_promptrun.testing import Fault, Reply

if TYPE_CHECKING:
    from langchain_promptrun.testing import PromptrunServer

TOUR = """\
I am a stand-in on your own machine: I cost nothing, and know nothing. You said: "{question}"

Yet all between us is real, so you can see how this chat takes it when things go wrong. Ask for:

- a **rate limit**
- an **expired key**
- a **lost connection**, in the middle of an answer
- a **long answer**, and stop it
"""
LONG = "This goes on until you stop it. " * 500
TROUBLE: dict[str, Fault | str] = {
    "rate limit": Fault(status=429, headers={"retry-after": "90"}, body={"error": "Too many requests."}),
    "expired key": Fault(status=401, body={"error": "The API key has expired."}),
    "lost connection": Fault(reply=Reply("This answer will never be whole, because the line"), after=9, cut=True),
    "long answer": LONG,
}
PACE = 0.02
COST_PER_TOKEN = 0.000002


def rehearse(server: PromptrunServer) -> None:
    """Prepare the stand-in."""
    server.pace = PACE
    server.cost_per_token = COST_PER_TOKEN
    server.answer = answer


def answer(body: dict[str, Any]) -> Reply | Fault | str:
    """Say something, or fail as the last message wants it."""
    question = body["messages"][-1]["content"]
    wanted = (item for words, item in TROUBLE.items() if words in question.lower())
    return next(wanted, TOUR.format(question=question))
