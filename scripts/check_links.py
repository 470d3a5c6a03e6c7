#!/usr/bin/env python3
"""Ask for every outside link of the pages, and name those that are not there: `make links`, with a network."""

from __future__ import annotations

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "examples" / "README.md", ROOT / "pyproject.toml"]
LINK = re.compile(r"https://[^\s)\"'<>`\],]+[^\s)\"'<>`\],.]")
ADDRESSES = ("https://api.promptrun.ai", "https://openrouter.ai/api", "https://host", "https://gateway.example")
"""Roots of APIs and made-up hosts, which have no page."""
REFUSALS = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS}
"""Answers of pages that are there, but not for programs."""


def links() -> list[str]:
    """Return the outside links of all pages, each once."""
    found = {link for page in PAGES for link in LINK.findall(page.read_text())}
    return sorted(link for link in found if not link.startswith(ADDRESSES))


def problem(client: httpx.Client, link: str) -> str | None:
    """Return what is wrong with a link, None if it leads to a page."""
    try:
        status = client.get(link).status_code
    except httpx.HTTPError as error:
        return f"{link}: {type(error).__name__}: {error}"
    return f"{link}: {status}" if status >= HTTPStatus.BAD_REQUEST and status not in REFUSALS else None


def main() -> None:
    """Check all links, and end with an error if one leads nowhere."""
    with httpx.Client(follow_redirects=True, timeout=30) as client, ThreadPoolExecutor(8) as threads:
        problems = [found for found in threads.map(lambda link: problem(client, link), links()) if found]
    sys.exit("\n".join(problems) or None)


if __name__ == "__main__":
    main()
