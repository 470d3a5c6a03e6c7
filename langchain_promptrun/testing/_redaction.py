"""Secrets in recorded exchanges: known ones, those under telling names, and those that a stream spreads over events."""

import json
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

from langchain_promptrun.testing._http import encode

_HIDDEN = "[redacted]"
_PATTERN = (
    r"\b(?:sk|pk|rk)-[\w-]{12,}|\b(?:org|proj)-(?=\w*\d)\w{12,}|\bxox[a-z]-[\w-]{10,}|\bAIza[\w-]{30,}"
    r"|\b(?:gsk|xai|hf|gh[oprsu]|github_pat|glpat|pplx|nvapi)[_-][\w-]{16,}|\bAKIA[A-Z0-9]{16}\b"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}|\b[Bb]earer +(?=\S*\d)[\w.~+/=-]{8,}"
)
_VENDORS = "sk- pk- rk- org- proj- xox AIza gsk xai hf_ hf- gho ghp ghr ghs ghu github_pat glpat pplx nvapi AKIA eyJ"
_SIGNS = ('":', '" :', "earer ", *_VENDORS.split())
"""One of these stands in each text that the patterns find something in; they are found much faster."""
_EMAIL = r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
_NAMES = (
    r"api[_-]?key|(?:private|secret|access)[_-]?key|authorization|passw(?:or)?d|passphrase|secret|credentials?|cookie"
    r"|(?:access|api|auth|bearer|id|refresh|session)[_-]?token|session(?:[_-]?(?:id|key))?"
)
_SECRET_NAMES = re.compile(rf"(?i)(?:{_NAMES})$|(?:^|_)pass$")
_MEMBER = rf'(?P<member>(?i:{_NAMES}|token)" ?:\s*")(?:[^"\\]|\\.)+'
"""A member of JSON that stands in a text, such as the arguments of a tool call."""
_SECRET_HEADERS = re.compile(
    "authorization|organi[sz]ation|project|account|^(?!.*ratelimit).*(?:cookie|key|token|secret)"
)
_TEXT_KEYS = frozenset({"delta", "text", "content", "arguments", "thinking", "response", "output"})
"""The keys under which vendors stream texts in pieces."""
_SHORTEST_SECRET = 8

Text = tuple[Any, Any, tuple[Any, ...]]
"""A text in a JSON document: its container, its key there, and its path."""


def is_secret_header(name: str) -> bool:
    return _SECRET_HEADERS.search(name) is not None


def is_secret_parameter(name: str) -> bool:
    """Tell whether a query parameter holds a key; Gemini's is called `key`."""
    return name in {"key", "token"} or _is_secret_name(name)


@lru_cache(1_000)
def _is_secret_name(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def secrets_of(headers: Iterable[tuple[str, str]], query: Iterable[tuple[str, str]] = ()) -> list[str]:
    """Return the values that no file may hold."""
    values = [value for name, value in query if is_secret_parameter(name)]
    for name, value in headers:
        if name == "cookie":
            values += [pair.partition("=")[2] for pair in value.split(";")]
        elif name == "set-cookie":
            values.append(value.partition(";")[0].partition("=")[2])
        elif is_secret_header(name):
            values += value.split()
    return [value for value in values if len(value) >= _SHORTEST_SECRET]


class Redaction:
    def __init__(self, secrets: Iterable[str], *, emails: bool) -> None:
        known = sorted(secrets, key=len, reverse=True)
        known = [form for secret in known for form in (secret, "\0".join(secret))]  # UTF-8 and UTF-16
        self._signs = (*_SIGNS, *known, *(["@"] if emails else []))
        self._pattern = re.compile("|".join([_MEMBER, *map(re.escape, known), _PATTERN, *([_EMAIL] if emails else [])]))

    def document(self, value: Any, name: str = "") -> Any:
        """Return a JSON document, found under a name, without secrets."""
        if isinstance(value, dict):
            named = {key: "secret" if key == "token" and "logprob" not in value else key for key in value}
            return {self._text(key): self.document(item, named[key]) for key, item in value.items()}
        if isinstance(value, list):
            return [self.document(item, name) for item in value]
        if isinstance(value, str):
            return _HIDDEN if _is_secret_name(name) else self._text(value)
        return value

    def body(self, body: bytes) -> bytes:
        """Return JSON, server-sent events, or anything else without secrets. Lines stay lines."""
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return self._text(body.decode("latin-1")).encode("latin-1")
        document = _parsed(text)
        if document is None:
            return self._events(text).encode()
        clean = self.document(document)
        return body if clean == document else encode(clean)

    def _text(self, text: str) -> str:
        if not any(sign in text for sign in self._signs):
            return text
        return self._pattern.sub(lambda match: (match["member"] or "") + _HIDDEN, text)

    def _events(self, text: str) -> str:
        lines = text.split("\n")
        events = {number: document for number, line in enumerate(lines) if (document := _data(line)) is not None}
        streams: dict[tuple[Any, ...], list[Text]] = defaultdict(list)
        for document in events.values():
            for found in _texts(document, ()):
                if not _TEXT_KEYS.isdisjoint(found[2]):
                    streams[found[2]].append(found)
        for texts in streams.values():  # may spell a secret together, which is hidden where it begins
            whole = "".join(container[key] for container, key, _ in texts)
            if not any(sign in whole for sign in self._signs):
                continue
            characters, position = list(whole), 0
            for match in self._pattern.finditer(whole):
                start = match.end("member") if match["member"] else match.start()
                characters[start : match.end()] = [_HIDDEN, *[""] * (match.end() - start - 1)]
            for container, key, _ in texts:
                start, position = position, position + len(container[key])
                container[key] = "".join(characters[start:position])
        for number, line in enumerate(lines):
            if number not in events:
                lines[number] = self._text(line)
            elif (clean := self.document(events[number])) != _data(line):
                name, end = "data: " * line.startswith("data:"), "\r" * line.endswith("\r")
                lines[number] = f"{name}{encode(clean).decode()}{end}"
        return "\n".join(lines)


def _texts(document: Any, path: tuple[Any, ...]) -> Iterator[Text]:
    """Yield the texts; a choice and a tool call are known by their `index`, where they have one."""
    items: Any = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        if isinstance(value, str):
            yield document, key, (*path, key)
        elif isinstance(value, dict | list):
            number = value.get("index", key) if isinstance(value, dict) and isinstance(document, list) else key
            yield from _texts(value, (*path, number))


def _data(line: str) -> Any:
    """Return the JSON document of an event's `data` line or of a line of JSON, or None."""
    document = _parsed(line.removeprefix("data:"))
    return document if isinstance(document, dict | list) else None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def recut(old: bytes, new: bytes, sizes: list[int]) -> list[int]:
    """Return the sizes of a body's pieces after its lines changed; in lines that stayed the cuts stay."""
    before, after = ([len(line) + 1 for line in body.split(b"\n")] for body in (old, new))
    if len(before) != len(after):
        return [len(new)]
    starts, new_starts = list(accumulate(before, initial=0)), list(accumulate(after, initial=0))
    cuts = [0]
    for cut in accumulate(sizes):
        line = bisect_right(starts, cut) - 1
        cuts.append(new_starts[line] + min(cut - starts[line], after[line] - 1))
    return [end - start for start, end in pairwise(cuts)]
