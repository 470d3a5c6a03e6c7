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
    # An ImportError names a package that is missing, such as the one for SOCKS proxies.
    except (PromptrunError, ValueError, OSError, ImportError) as error:
        said = str(error)
        if isinstance(error, ValidationError):
            said = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise CommandError(" ".join(said.split()) or type(error).__name__) from error
