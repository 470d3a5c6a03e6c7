"""A Promptrun on loopback, for tests of chains, retries and error handling without a key and without the network.

With pytest, name the plugin in the root `conftest.py`: `pytest_plugins = ["langchain_promptrun.testing.plugin"]`. Its
fixture `promptrun_server` sets `PROMPTRUN_API_KEY` and `PROMPTRUN_BASE_URL`, which a model reads. Without pytest, use
`with PromptrunServer() as server` and give the model `server.api_key` and `server.base_url`.
"""

from langchain_promptrun.testing._cassette import convert_recording
from langchain_promptrun.testing._http import RecordedRequest
from langchain_promptrun.testing._items import Dialect, Fault, ManagedPrompts, PromptProject, RateLimit, Reply
from langchain_promptrun.testing._server import PromptrunServer

__all__ = [
    "Dialect",
    "Fault",
    "ManagedPrompts",
    "PromptProject",
    "PromptrunServer",
    "RateLimit",
    "RecordedRequest",
    "Reply",
    "convert_recording",
]
