"""The wire-fault set: what servers, gateways and networks do to a call, and what its caller must see.

The tests run it against ChatPromptrun in all styles of calls; `benchmarks/faults.py` runs it against the peers, too.
"""

from wire_faults import calls, connections, content, fault, statuses, world

IN_THE_CONTENT = [*statuses.FAULTS, *content.FAULTS]  # an HTTP client only hands them through
ON_THE_WIRE = connections.FAULTS  # one HTTP client may meet them in another way than the next one
FAULTS = [*IN_THE_CONTENT, *ON_THE_WIRE]  # last those that keep a client busy which does not see their end

__all__ = ["FAULTS", "IN_THE_CONTENT", "ON_THE_WIRE", "calls", "fault", "world"]
