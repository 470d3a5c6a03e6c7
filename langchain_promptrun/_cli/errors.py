"""Turn exceptions into the one line that ends a run."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic import ValidationError

from langchain_promptrun._cli.command import CommandError
from langchain_promptrun.errors import PromptrunError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn errors that the user can act on into one line each."""
    try:
        yield
    except BrokenPipeError:
        raise
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise CommandError(_one_line("; ".join(faults))) from error
    # An ImportError names a package that is missing, such as the one for SOCKS proxies.
    except (PromptrunError, ValueError, OSError, ImportError) as error:
        raise CommandError(_one_line(str(error)) or type(error).__name__) from error


def _one_line(text: str) -> str:
    return " ".join(text.split())
