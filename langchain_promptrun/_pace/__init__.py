"""Pace of requests: what a server bears, and whose turn it is."""
