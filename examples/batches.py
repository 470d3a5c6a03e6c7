"""Many prompts through one chain on a cluster: what `batch_dask.py` and `batch_ray.py` share.

The answers go to a file of JSON lines, written by this process alone. A prompt is done once its answer is in the file:
whatever is killed, cut off or refused, the same command asks for the rest, and no answer is there twice.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from endings import clear_ending, say
from json_lines import FileError, JsonLines
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import InMemoryRateLimiter
from promptrun_or_offline import answering, command_line
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from langchain_promptrun import (
    AdaptiveRateLimiter,
    ChatPromptrun,
    PromptrunAuthenticationError,
    PromptrunNotFoundError,
    PromptrunPaymentRequiredError,
    PromptrunPermissionDeniedError,
    message_cost,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from langchain_core.runnables import Runnable

    Prompt = tuple[int, str]
    Spread = Callable[[Iterable[list[Prompt]]], Iterator[list["Outcome"]]]
    Cluster = Callable[["Asker", int], AbstractContextManager[Spread]]

HOPELESS = (
    PromptrunAuthenticationError,
    PromptrunNotFoundError,
    PromptrunPaymentRequiredError,
    PromptrunPermissionDeniedError,
)
"""What goes wrong for the first prompt with these goes wrong for all."""
BEGINS = '{"id": '
"""How the lines of the output begin."""
FIRST_RATE = 20.0
"""Prompts a second with which each worker begins; it learns how many more the server bears."""
TRIES = 2
"""On so many workers, if they die, prompts are tried in their group, and then each alone, while nothing else runs."""
FAILURES_IN_A_ROW = 30
MODEL = "anthropic/claude-haiku-4.5"
UNASKED = 20
"""So many prompts are sent to Promptrun without a question about their cost."""
TOKENS_OF_AN_ANSWER = 60
"""An estimate, of one sentence."""
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class StoppedError(Exception):
    """The run cannot go on; the text says why."""


class WorkerDiedError(Exception):
    """The workers that were asked this prompt died."""


@dataclass
class Outcome:
    """What became of one prompt, and the process that asked."""

    number: int
    prompt: str
    worker: int | None
    answer: str | Exception


def died(prompts: list[Prompt]) -> list[Outcome]:
    """Give what became of a group that was tried `TRIES` times."""
    message = "each worker that was asked this died: {}".format
    return [Outcome(*prompt, None, WorkerDiedError(message(shorten(prompt[1], 80)))) for prompt in prompts]


@dataclass
class Asker:
    """A chain in a worker process.

    Args:
        chain: Comes by pickle; its HTTP clients are made at the first call, in the worker.
        at_once: How many prompts are under way at the same time in one worker.
    """

    chain: Runnable[str, str]
    at_once: int

    def ask(self, prompts: list[Prompt]) -> list[Outcome]:
        """Ask some prompts; one that fails does not stop the others."""
        texts = [text for _, text in prompts]
        answers = self.chain.batch(texts, {"max_concurrency": self.at_once}, return_exceptions=True)
        return [Outcome(*prompt, os.getpid(), answer) for prompt, answer in zip(prompts, answers, strict=True)]


def chain(rate: float | None = None) -> Runnable[Any, str]:
    """Build the chain; its limiter learns, in each worker, what the server bears, up to a rate a second."""
    prompt = ChatPromptTemplate([("system", "Answer in one sentence."), ("human", "{prompt}")])
    first = FIRST_RATE if rate is None else min(FIRST_RATE, rate)
    limiter = AdaptiveRateLimiter(initial_rate=first, lowest_rate=min(0.1, first), highest_rate=rate)
    return prompt | ChatPromptrun(model=MODEL, max_retries=3, rate_limiter=limiter) | StrOutputParser()


def limiter_of(rate: float) -> InMemoryRateLimiter:
    """Build a limiter without bursts."""
    return InMemoryRateLimiter(requests_per_second=rate, check_every_n_seconds=min(0.1, 0.5 / rate), max_bucket_size=1)


def main(cluster: Cluster) -> None:
    """Run the program.

    Args:
        cluster: Gives, for an `Asker` and a number of worker processes, a function that has groups of prompts asked.
            It yields each group's outcomes as they come in, takes no more groups than keep the workers busy, and gives
            the prompts of a worker that died to another one; after `TRIES` of them it yields `died`.
    """
    arguments = _arguments()
    paid = not arguments.offline and bool(os.environ.get("PROMPTRUN_API_KEY"))
    try:
        with clear_ending(FileError, StoppedError), answering(arguments):
            _run(cluster, arguments, paid=paid and not arguments.yes)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on with the rest", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command_line()
    parser.add_argument("--prompts", type=Path, help="a text file, one prompt a line (default: made-up prompts)")
    parser.add_argument("--count", type=_positive(int), default=UNASKED, help="made-up prompts (default: %(default)s)")
    parser.add_argument("--yes", action="store_true", help="do not ask before many prompts cost money")
    parser.add_argument("--out", default="answers.jsonl", help="the answers (default: %(default)s); found ones stay")
    parser.add_argument("--workers", type=_positive(int), default=2, help="worker processes (default: %(default)s)")
    parser.add_argument("--at-once", type=_positive(int), default=16, help="calls at a time in each worker (16)")
    parser.add_argument("--rate", type=_positive(float), help="the most prompts a second (default: no limit)")
    parser.add_argument(
        "--limit",
        choices=["shared", "worker"],
        default="shared",
        help="shared: the rate is that of all workers together; this process keeps it, as it hands out the prompts. "
        "worker: the rate is that of each worker, which keeps it call by call (default: %(default)s)",
    )
    return parser.parse_args()


def _positive(number: type[int | float]) -> Callable[[str], float]:
    """Give the reader of an argument."""

    def read(text: str) -> float:
        if not 0 < (value := number(text)) < float("inf"):
            raise ValueError
        return value

    read.__name__ = f"positive {number.__name__}"
    return read


def _run(cluster: Cluster, arguments: argparse.Namespace, *, paid: bool) -> None:
    prompts = _prompts(arguments)
    with JsonLines(arguments.out, BEGINS) as lines:
        done = _done(lines, prompts)
        waiting = [prompt for prompt in enumerate(prompts) if prompt[0] not in done]
        if paid and len(waiting) > UNASKED:
            _confirm([text for _, text in waiting])
        try:
            failures = _ask_all(cluster, arguments, waiting, lines, done) if waiting else []
        except (FileError, StoppedError) as error:
            tally = _tally(done, prompts, lines)
            raise StoppedError(f"{error}. {tally}; the same command asks for the rest") from error
    say(_tally(done, prompts, lines), anyhow=True)
    if failures:
        raise StoppedError(f"{len(failures)} failed, the first with: {failures[0]}; the same command asks them again")


def _confirm(prompts: list[str]) -> None:
    """Ask before many prompts cost money.

    Raises:
        StoppedError: The answer is no, or nobody can answer.
    """
    question = f"{len(prompts):,} prompts to {MODEL} cost {_estimate(prompts)}"
    if not sys.stdin.isatty():
        raise StoppedError(f"{question}: add --yes to ask them")
    if input(f"{question}. Ask them? [y/N] ").strip().lower() not in {"y", "yes"}:
        raise StoppedError("nothing was asked")


def _estimate(prompts: list[str]) -> str:
    """Estimate a cost from the length of some prompts, and answers of one sentence."""
    some = prompts[:100]
    model = ChatPromptrun(model=MODEL)
    sent = sum(map(model.get_num_tokens, some)) * len(prompts) // len(some)
    received = TOKENS_OF_AN_ANSWER * len(prompts)
    usage = {"input_tokens": sent, "output_tokens": received, "total_tokens": sent + received}
    dollars = message_cost(AIMessage("", usage_metadata=usage), MODEL).usd
    return f"about ${dollars:,.2f}" if dollars is not None else "an unknown amount"


def _tally(done: set[int], prompts: list[str], lines: JsonLines) -> str:
    return f"{len(done):,} of {len(prompts):,} answers are in {lines.path}"


def _prompts(arguments: argparse.Namespace) -> list[str]:
    """Read the prompts."""
    if arguments.prompts is None:
        return [f"Tell me a fun fact about the number {number}." for number in range(arguments.count)]
    try:
        with arguments.prompts.open(encoding="utf-8-sig") as file:
            prompts = [line.strip() for line in file]
    except UnicodeDecodeError as error:
        raise StoppedError(f"{arguments.prompts} is not text in UTF-8") from error
    except OSError as error:
        raise StoppedError(f"cannot read {arguments.prompts}: {error.strerror}") from error
    if "" in prompts or not prompts:
        raise StoppedError(f"{arguments.prompts}, line {[*prompts, ''].index('') + 1}: there is no prompt")
    return prompts


def _done(lines: JsonLines, prompts: list[str]) -> set[int]:
    """Find the prompts whose answers are there."""
    numbered = {str(number): prompt for number, prompt in enumerate(prompts)}
    if any(numbered.get(str(line.get("id")), "") != line.get("prompt") for line in lines.found):
        raise StoppedError(f"{lines.path} holds answers to other prompts: name another file")
    return {int(line["id"]) for line in lines.found}


def _ask_all(
    cluster: Cluster, arguments: argparse.Namespace, waiting: list[Prompt], lines: JsonLines, done: set[int]
) -> list[Exception]:
    """Ask what is not done yet, and give the errors."""
    shared = arguments.limit == "shared"
    rate = arguments.rate if shared else None
    asker = Asker(chain(None if shared else arguments.rate), arguments.at_once)
    ledger = Ledger(lines, done)
    groups = takewhile(ledger.goes_on, _groups(waiting, arguments.at_once, rate))
    alone = takewhile(ledger.goes_on, _groups(ledger.suspects, 1, rate))
    with cluster(asker, arguments.workers) as spread, _progress() as progress:
        bar = progress.add_task("answers", total=len(done) + len(waiting), completed=len(done))
        for outcomes in _outcomes(spread, groups, alone):
            ledger.enter(outcomes)
            progress.update(bar, completed=len(done))
    if ledger.problem:
        raise StoppedError(ledger.problem)
    return ledger.failures


def _outcomes(spread: Spread, groups: Iterable[list[Prompt]], alone: Iterable[list[Prompt]]) -> Iterator[list[Outcome]]:
    """Have groups asked all together, and then others one by one."""
    yield from spread(groups)
    for group in alone:
        yield from spread([group])


class Ledger:
    """Keeps answers and counts failures; after a problem nothing new is asked, but what is under way is still kept."""

    def __init__(self, lines: JsonLines, done: set[int]) -> None:
        self._lines, self._done = lines, done
        self._in_a_row = 0
        self.suspects: list[Prompt] = []
        self.failures: list[Exception] = []
        self.problem = ""

    def goes_on(self, _: list[Prompt]) -> bool:
        """Whether more may be asked."""
        return not self.problem

    def enter(self, outcomes: list[Outcome]) -> None:
        """Enter what became of a group; the prompts of one whose workers died are suspected, the first time."""
        prompts = [(outcome.number, outcome.prompt) for outcome in outcomes]
        if isinstance(outcomes[0].answer, WorkerDiedError) and prompts[0] not in self.suspects:
            self.suspects += prompts
            self._trouble(outcomes[0].answer)
            return
        for outcome in outcomes:
            self._enter(outcome)

    def _enter(self, outcome: Outcome) -> None:
        number, answer = outcome.number, outcome.answer
        if isinstance(answer, Exception):
            self.failures.append(answer)
            self._trouble(answer)
        elif number not in self._done:
            self._lines.add({"id": number, "prompt": outcome.prompt, "answer": answer, "worker": outcome.worker})
            self._done.add(number)
            self._in_a_row = 0

    def _trouble(self, error: Exception) -> None:
        self._in_a_row += 1
        if isinstance(error, HOPELESS):
            self.problem = self.problem or str(error)
        elif self._in_a_row == FAILURES_IN_A_ROW:
            self.problem = self.problem or f"{self._in_a_row} prompts in a row failed, the last with: {error}"


def _groups(waiting: list[Prompt], size: int, rate: float | None) -> Iterator[list[Prompt]]:
    """Hand the prompts out in groups; with a rate, groups of at most one second."""
    prompts = iter(waiting)
    if rate is not None:
        size = max(1, min(size, int(rate)))
        prompts = _no_faster(prompts, limiter_of(rate))
    while group := list(islice(prompts, size)):
        yield group


def _no_faster(prompts: Iterator[Prompt], limiter: InMemoryRateLimiter) -> Iterator[Prompt]:
    for prompt in prompts:
        limiter.acquire()
        yield prompt


def _progress() -> Progress:
    """Build the progress bar, on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
