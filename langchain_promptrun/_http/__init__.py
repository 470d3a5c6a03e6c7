"""Requests, retries and connections over httpx and aiohttp."""
