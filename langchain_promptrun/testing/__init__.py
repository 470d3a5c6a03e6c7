"""A Promptrun on loopback, for tests of chains, retries and error handling without a key and without the network.

With pytest, name the plugin in the root `conftest.py`: `pytest_plugins = ["langchain_promptrun.testing.plugin"]`. Its
fixture `promptrun_server` sets `PROMPTRUN_API_KEY` and `PROMPTRUN_BASE_URL`, which a model reads. Without pytest:

    >>> from langchain_promptrun import ChatPromptrun
    >>> from langchain_promptrun.testing import Fault, PromptrunServer, Reply
    >>> with PromptrunServer() as server:
    ...     model = ChatPromptrun(model="openai/gpt-4o", api_key=server.api_key, base_url=server.base_url)
    ...     server.queue(Fault(status=429, headers={"retry-after": "0"}), Reply("Second time lucky."))
    ...     model.invoke("Hello?").text
    ...     len(server.requests)
    'Second time lucky.'
    2
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
