"""How the applications end when something goes wrong: with a message, never with a traceback."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic import ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def clear_ending(*reasons: type[Exception]) -> Iterator[None]:
    """Turn errors into messages.

    Args:
        reasons: Errors whose text says all.
    """
    try:
        yield
    except ValidationError as error:
        fault = error.errors()[0]
        sys.exit(f"error: {fault['loc'][0]}: {fault['msg']}")
    except reasons as error:
        sys.exit(f"error: {error}")


@contextmanager
def writing(afterwards: str = "") -> Iterator[None]:
    """End the program with a message when stdout takes no more.

    Args:
        afterwards: What else to say then.
    """
    try:
        yield
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more as it ends
        sys.exit(f"error: cannot write to the terminal: {error.strerror}{afterwards}")


def say(text: str, *, anyhow: bool = False) -> None:
    """Print a line at once.

    Args:
        text: The line.
        anyhow: Whether to say it with the error, where it cannot be printed.
    """
    with writing(f". {text}" if anyhow else ""):
        print(text, flush=True)
