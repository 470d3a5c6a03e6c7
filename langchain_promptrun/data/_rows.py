"""The form of the rows in `_profiles.py`, as scripts/update_profiles.py writes and the lookup reads them."""

from typing import TypeAlias

Row: TypeAlias = tuple[str, str, int, int, str, str, str, str]
"""Name, release date, input tokens, output tokens (0: unknown), letters, family, reasoning efforts, status.

The letters are those of `FLAGS` that hold; after `?` those that are unknown, and the others are false. Letters of
`AUGMENTATIONS` hold, after `!` they are false, and the others are unknown. The efforts are separated by blanks, with
the default after `=`.
"""

RETIRED = "retired"
"""Status of a model that its vendor serves no more."""

FLAGS = {
    "t": "text_inputs",
    "i": "image_inputs",
    "p": "pdf_inputs",
    "a": "audio_inputs",
    "v": "video_inputs",
    "T": "text_outputs",
    "I": "image_outputs",
    "A": "audio_outputs",
    "V": "video_outputs",
    "r": "reasoning_output",
    "c": "tool_calling",
    "s": "structured_output",
    "f": "attachment",
    "h": "temperature",
    "o": "open_weights",
}

AUGMENTATIONS = {
    "u": "image_url_inputs",
    "g": "image_tool_message",
    "d": "pdf_tool_message",
    "C": "tool_choice",
    "k": "tool_call_streaming",
    "m": "mid_conversation_system_messages",
}
"""What LangChain's own packages say of models beyond models.dev."""
