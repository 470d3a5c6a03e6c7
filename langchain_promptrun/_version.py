"""The version, a constant: reading package metadata would block an event loop."""

__version__ = "0.1.0"
