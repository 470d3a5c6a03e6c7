"""What the stand-in says in `web_chat.py` and `terminal_chat.py`: it takes its time, and fails when asked to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_promptrun.testing import Fault, Reply

if TYPE_CHECKING:
    from langchain_promptrun.testing import PromptrunServer

TOUR = """\
I am a stand-in on your own machine: I cost nothing, and know nothing. You said: "{question}"

Ask me to show something:

- a **table**, or some **code**
- how I **think**
- what **time** it is: I ask a tool of this chat
- a **long answer**, and stop it

Or see what happens when things go wrong. Ask for:

- a **rate limit**
- an **expired key**
- a **lost connection**, in the middle of an answer
"""
TABLE = """\
| planet | day | year |
| --- | --- | --- |
| Mercury | 176 Earth days | 88 Earth days |
| Venus | 117 Earth days | 225 Earth days |
| Mars | 1.03 Earth days | 687 Earth days |

More in [NASA's fact sheet](https://nssdc.gsfc.nasa.gov/planetary/factsheet/).
"""
CODE = """\
Here is the greatest common divisor:

```python
def gcd(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a
```
"""
SHOWN: dict[str, Fault | Reply | str] = {
    "rate limit": Fault(status=429, body={"error": "Too many requests."}),
    "expired key": Fault(status=401, body={"error": "The API key has expired."}),
    "lost connection": Fault(reply=Reply("This answer will never be whole, because the line"), after=9, cut=True),
    "long answer": "This goes on until you stop it. " * 500,
    "table": TABLE,
    "code": CODE,
    "think": Reply("Seven spiders have 56 legs.", reasoning="A spider has eight legs. Seven times eight is 56."),
    "time": Reply(tool_calls=[{"name": "tell_time", "args": {"timezone": "Asia/Tbilisi"}}]),
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
    last = body["messages"][-1]
    if last["role"] == "tool":
        return f"It is {last['content']} in Tbilisi."
    text = last["content"] if isinstance(last["content"], str) else f"{len(last['content'])} parts"
    known = dict(SHOWN) if body.get("tools") else {words: item for words, item in SHOWN.items() if words != "time"}
    wanted = (item for words, item in known.items() if words in text.lower())
    return next(wanted, TOUR.format(question=text))
