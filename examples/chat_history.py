# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""A conversation that remembers, kept short: histories by session, trimmed by the model's own count of tokens."""

from __future__ import annotations

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, trim_messages
from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun


class Conversations:
    """Conversations by session; each keeps its whole history, and sends what fits into a number of tokens."""

    def __init__(self, most_tokens: int) -> None:
        model = ChatPromptrun(model="anthropic/claude-haiku-4.5")
        trim = trim_messages(
            token_counter=model, max_tokens=most_tokens, strategy="last", include_system=True, start_on="human"
        )
        self.histories: dict[str, list[AnyMessage]] = {}
        self.chain = trim | model

    def say(self, session: str, question: str) -> AIMessage:
        """Say something in a session."""
        history = self.histories.setdefault(session, [SystemMessage("Answer in one sentence.")])
        history.append(HumanMessage(question))
        answer = self.chain.invoke(history)
        history.append(answer)
        return answer


def main() -> None:
    """Talk in two sessions, of which one grows long."""
    conversations = Conversations(most_tokens=60)
    for number in range(4):
        print("Tamar:", conversations.say("tamar", f"This is what I say in turn {number}.").text)
    print("Nino:", conversations.say("nino", "Do you know me?").text)
    for name, history in conversations.histories.items():
        kinds = [type(message) for message in history]
        print(f"{name}: {kinds.count(HumanMessage)} questions and {kinds.count(AIMessage)} answers are kept")


if __name__ == "__main__":
    run(main)
