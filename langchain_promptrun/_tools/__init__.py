"""Tools, schemas and structured output."""
