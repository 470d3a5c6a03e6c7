"""LangChain's standard integration tests for chat models: over real sockets, and with a key against Promptrun itself.

Every capability that the API's format has is switched on.
"""

import struct
import zlib

import httpx
import pytest
from langchain_core.messages import AIMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import Reply

MODEL = "openai/gpt-4o"
METHODS = ("function_calling", "json_schema", "json_mode")


def png() -> bytes:
    """One grey pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\x00\x80")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def wav() -> bytes:
    """A hundredth of a second of silence."""
    silence = bytes(160)
    form = struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    body = b"WAVEfmt " + form + b"data" + struct.pack("<I", len(silence)) + silence
    return b"RIFF" + struct.pack("<I", len(body)) + body


MEDIA = {
    "https://www.w3.org/WAI/ER/tests/xhtml/testfiles/resources/pdf/dummy.pdf": b"%PDF-1.4\n%%EOF\n",
    "https://upload.wikimedia.org/wikipedia/commons/6/6a/Northern_Flicker_202280456.wav": wav(),
    "https://raw.githubusercontent.com/langchain-ai/docs/"
    "4d11d08b6b0e210bd456943f7a22febbd168b543/src/images/agentic-rag-output.png": png(),
}


class Capabilities(ChatModelIntegrationTests):
    """What the format of Chat Completions can say."""

    @property
    def chat_model_class(self):
        return ChatPromptrun

    @property
    def supports_image_inputs(self):
        return True

    @property
    def supports_image_urls(self):
        return True

    @property
    def supports_image_tool_message(self):
        return True

    @property
    def supports_pdf_inputs(self):
        return True

    @property
    def supports_pdf_tool_message(self):
        return True

    @property
    def supports_audio_inputs(self):
        return True

    @property
    def supports_anthropic_inputs(self):
        return True

    @property
    def supports_json_mode(self):
        return True

    @property
    def supports_model_override(self):
        return True

    @property
    def model_override_value(self):
        return "anthropic/claude-3.5-haiku"


class Offline(Capabilities):
    """The suite against the stand-in server."""

    method = "function_calling"

    @pytest.fixture(autouse=True)
    def server(self, promptrun_server, monkeypatch):
        """The server, and the only patch of the network: exactly the suite's own three downloads."""
        self.promptrun = promptrun_server
        monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "langchain-promptrun tests")

        def get(url, **_):
            return httpx.Response(200, content=MEDIA[url])

        monkeypatch.setattr(httpx, "get", get)
        return promptrun_server

    @pytest.fixture
    def model(self, server, request):
        """The model under test, built when the environment names the server."""
        del server
        return ChatPromptrun(**self.standard_chat_model_params, **self.chat_model_params)

    @property
    def chat_model_params(self):
        return {"model": MODEL, "structured_output_method": self.method}

    @property
    def enable_vcr_tests(self):
        return True

    @pytest.fixture
    def vcr_config(self):
        return {"record_mode": "once", "allow_playback_repeats": True, "filter_headers": ["authorization"]}

    @pytest.fixture
    def vcr_cassette_dir(self, tmp_path):
        return str(tmp_path)

    @pytest.fixture
    def vcr(self, vcr, request):
        """For the one test that wants a cassette: one with the answer on it, ready to be played."""
        if vcr is not None:
            list(request.getfixturevalue("model").stream("Write a story about a cat."))
            vcr.rewound = True
        return vcr

    @property
    def structured_output_kwargs(self):
        return {"method": self.method}

    @property
    def supported_usage_metadata_details(self):
        details = ["audio_input", "audio_output", "reasoning_output", "cache_read_input", "cache_creation_input"]
        return {"invoke": details, "stream": details}

    def _told(self, *, stream: bool, **usage) -> AIMessage:
        counts = {"prompt_tokens": 50, "completion_tokens": 40, "total_tokens": 90}
        self.promptrun.queue(Reply("Counted.", usage=counts | usage))
        model = ChatPromptrun(**self.chat_model_params)
        if not stream:
            return model.invoke("Hello")
        message = None
        for chunk in model.stream("Hello"):
            message = chunk if message is None else message + chunk
        return message

    def invoke_with_audio_input(self, *, stream: bool = False) -> AIMessage:
        return self._told(stream=stream, prompt_tokens_details={"audio_tokens": 20})

    def invoke_with_audio_output(self, *, stream: bool = False) -> AIMessage:
        return self._told(stream=stream, completion_tokens_details={"audio_tokens": 20})

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self._told(stream=stream, completion_tokens_details={"reasoning_tokens": 20})

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self._told(stream=stream, prompt_tokens_details={"cached_tokens": 20})

    def invoke_with_cache_creation_input(self, *, stream: bool = False) -> AIMessage:
        return self._told(stream=stream, prompt_tokens_details={"cache_write_tokens": 20})


class TestFunctionCalling(Offline):
    """Structured output by a tool call."""


class TestJsonSchema(Offline):
    """Structured output by `response_format` with a schema."""

    method = "json_schema"


@pytest.mark.live
class TestLive(Capabilities):
    """The suite against Promptrun itself."""

    @property
    def chat_model_params(self):
        return {"model": MODEL}
