"""LangChain's standard tests for chat models: alone, over real sockets, and with a key against Promptrun itself.

Every capability that the API's format has is switched on.
"""

from functools import partialmethod, reduce
from operator import add

import httpx
import pytest
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import Reply

MODEL = "openai/gpt-4o"
DETAILS = ["audio_input", "audio_output", "reasoning_output", "cache_read_input", "cache_creation_input"]
# Nobody reads more of them than their first bytes.
MEDIA = {
    "https://www.w3.org/WAI/ER/tests/xhtml/testfiles/resources/pdf/dummy.pdf": b"%PDF-1.4\n%%EOF\n",
    "https://upload.wikimedia.org/wikipedia/commons/6/6a/Northern_Flicker_202280456.wav": b"RIFF\0\0\0\0WAVEfmt ",
    "https://raw.githubusercontent.com/langchain-ai/docs/"
    "4d11d08b6b0e210bd456943f7a22febbd168b543/src/images/agentic-rag-output.png": b"\x89PNG\r\n\x1a\n",
}


class TestUnit(ChatModelUnitTests):
    chat_model_class = ChatPromptrun

    @property
    def chat_model_params(self):
        return {"model": MODEL, "api_key": "made-up-key"}

    @property
    def init_from_env_params(self):
        return (
            {"PROMPTRUN_API_KEY": "key-from-env", "PROMPTRUN_BASE_URL": "https://gateway.example/v1"},
            {"model": MODEL},
            {"api_key": "key-from-env", "base_url": "https://gateway.example/v1"},
        )

    @pytest.mark.xfail(
        strict=True, reason="load(allowed_objects='all') admits only the classes in langchain-core's own mapping"
    )
    def test_serdes(self, model, snapshot):
        super().test_serdes(model, snapshot)


class Capabilities(ChatModelIntegrationTests):
    """What the format of Chat Completions can say."""

    chat_model_class = ChatPromptrun
    supports_image_inputs = supports_image_urls = supports_image_tool_message = True
    supports_pdf_inputs = supports_pdf_tool_message = supports_audio_inputs = True
    supports_anthropic_inputs = supports_json_mode = supports_model_override = True
    model_override_value = "anthropic/claude-3.5-haiku"


class Offline(Capabilities):
    method = "function_calling"
    enable_vcr_tests = True

    @pytest.fixture(autouse=True)
    def server(self, promptrun_server, monkeypatch):
        """The server, and the only patch of the network: exactly the suite's own three downloads."""
        self.promptrun = promptrun_server
        monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "langchain-promptrun tests")
        monkeypatch.setattr(httpx, "get", lambda url, **_: httpx.Response(200, content=MEDIA[url]))
        return promptrun_server

    @pytest.fixture
    def model(self, server, request):
        """The model under test, built when the environment names the server."""
        del server
        return ChatPromptrun(**self.standard_chat_model_params, **self.chat_model_params)

    @property
    def chat_model_params(self):
        return {"model": MODEL, "structured_output_method": self.method}

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
        return {"invoke": DETAILS, "stream": DETAILS}

    def _told(self, *, stream=False, **usage):
        counts = {"prompt_tokens": 50, "completion_tokens": 40, "total_tokens": 90}
        self.promptrun.queue(Reply("Counted.", usage=counts | usage))
        model = ChatPromptrun(**self.chat_model_params)
        return reduce(add, model.stream("Hello")) if stream else model.invoke("Hello")

    invoke_with_audio_input = partialmethod(_told, prompt_tokens_details={"audio_tokens": 20})
    invoke_with_audio_output = partialmethod(_told, completion_tokens_details={"audio_tokens": 20})
    invoke_with_reasoning_output = partialmethod(_told, completion_tokens_details={"reasoning_tokens": 20})
    invoke_with_cache_read_input = partialmethod(_told, prompt_tokens_details={"cached_tokens": 20})
    invoke_with_cache_creation_input = partialmethod(_told, prompt_tokens_details={"cache_write_tokens": 20})


class TestFunctionCalling(Offline):
    pass


class TestJsonSchema(Offline):
    method = "json_schema"


@pytest.mark.live
class TestLive(Capabilities):
    @property
    def chat_model_params(self):
        return {"model": MODEL}
