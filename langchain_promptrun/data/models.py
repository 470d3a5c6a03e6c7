"""Name the models that defaults, documentation and examples use: replace one here when its vendor retires it."""

SMALL = "anthropic/claude-haiku-4.5"
LARGE = "anthropic/claude-sonnet-5"
OTHER_VENDOR = "openai/gpt-4o"
