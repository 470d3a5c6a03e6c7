"""The wire-fault set: what servers, gateways and networks do to a call, and what its caller must see.

The tests run it against ChatPromptrun in all styles of calls; `benchmarks/faults.py` runs it against the peers, too.
"""

from wire_faults import answers, connections, limits, statuses, streams
from wire_faults.calls import ASYNC, SYNC, Seen, acall, call
from wire_faults.checks import complaints, outcome
from wire_faults.fault import Answer, Failure, WireFault
from wire_faults.wire import KEY, MODEL
from wire_faults.world import World

ON_THE_WIRE: list[WireFault] = [*connections.FAULTS, *limits.FAULTS]
"""Faults that one HTTP client may meet in another way than the next one."""

IN_THE_CONTENT: list[WireFault] = [*statuses.FAULTS, *answers.FAULTS, *streams.FAULTS]
"""Faults in what an HTTP client only hands through."""

FAULTS = [*IN_THE_CONTENT, *ON_THE_WIRE]
"""All of them; last those that keep a client busy which does not see their end."""

__all__ = [
    "ASYNC",
    "FAULTS",
    "IN_THE_CONTENT",
    "KEY",
    "MODEL",
    "ON_THE_WIRE",
    "SYNC",
    "Answer",
    "Failure",
    "Seen",
    "WireFault",
    "World",
    "acall",
    "call",
    "complaints",
    "outcome",
]
