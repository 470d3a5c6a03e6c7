"""Models whose prompts are cached only up to the parts that a request marks.

Anthropic's documentation, "Prompt caching": `cache_control` on at most four parts of tools, system and messages.
"""

MARKED_VENDORS = frozenset({"anthropic"})
MOST_MARKERS = 4
