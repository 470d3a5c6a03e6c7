"""Errors that a server reports, as exceptions."""
