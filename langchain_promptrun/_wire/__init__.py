"""Spellings that both directions of the wire share."""
