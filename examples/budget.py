# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""What calls cost, and a budget that stops them before anything is sent."""

from __future__ import annotations

from promptrun_or_offline import run

from langchain_promptrun import (
    Budget,
    ChatPromptrun,
    CostCallbackHandler,
    PromptrunBudgetExceededError,
    message_cost,
    track_costs,
)

QUESTIONS = ("Tell me a fun fact about space.", "Why is the sky blue?")


def one_call(model: ChatPromptrun) -> str:
    """Return what one answer cost, and where the figure is from."""
    cost = message_cost(model.invoke(QUESTIONS[0]))
    return f"{cost.usd} ({cost.source})"


def tracked(model: ChatPromptrun) -> CostCallbackHandler:
    """Sum up what a batch costs."""
    with track_costs() as costs:
        model.batch(list(QUESTIONS))
    return costs


def within(budget: Budget, model: ChatPromptrun, calls: int) -> int:
    """Make calls until the budget stops them; return how many were answered."""
    answered = 0
    with budget:
        for number in range(calls):
            try:
                model.invoke(f"{QUESTIONS[0]} Number {number}.")
            except PromptrunBudgetExceededError as refused:
                print("stopped:", refused)
                break
            answered += 1
    return answered


def main() -> None:
    """Show all of it."""
    model = ChatPromptrun(model="anthropic/claude-haiku-4.5", max_tokens=100, max_retries=0)
    print("one call:", one_call(model))
    costs = tracked(model)
    print(
        f"a batch: {costs.calls} calls, {costs.tokens} tokens, {costs.total:.6f} USD, {costs.estimated:.6f} estimated"
    )
    budget = Budget(usd=0.003, reserve=True)
    print(f"within the budget: {within(budget, model, calls=1_000)} calls for {budget.total:.6f} USD")


if __name__ == "__main__":
    run(main)
