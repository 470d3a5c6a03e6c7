"""The wire-fault set: what servers, gateways and networks do to a call, and what its caller must see.

The tests run it against ChatPromptrun in all styles of calls; `benchmarks/faults.py` runs it against the peers, too.
"""

from wire_faults import answers, calls, checks, connections, limits, statuses, streams, wire, world

ON_THE_WIRE = [*connections.FAULTS, *limits.FAULTS]
"""Faults that one HTTP client may meet in another way than the next one."""

IN_THE_CONTENT = [*statuses.FAULTS, *answers.FAULTS, *streams.FAULTS]
"""Faults in what an HTTP client only hands through."""

FAULTS = [*IN_THE_CONTENT, *ON_THE_WIRE]
"""All of them; last those that keep a client busy which does not see their end."""

__all__ = ["FAULTS", "IN_THE_CONTENT", "ON_THE_WIRE", "calls", "checks", "wire", "world"]
