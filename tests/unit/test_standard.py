"""LangChain's standard unit tests for chat models."""

import pytest
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_promptrun import ChatPromptrun


class TestChatPromptrunUnit(ChatModelUnitTests):
    """The suite that every LangChain integration has to pass."""

    chat_model_class = ChatPromptrun

    @property
    def chat_model_params(self):
        return {"model": "anthropic/claude-3.5-haiku", "api_key": "made-up-key"}

    @property
    def init_from_env_params(self):
        return (
            {"PROMPTRUN_API_KEY": "key-from-env", "PROMPTRUN_BASE_URL": "https://gateway.example/v1"},
            {"model": "anthropic/claude-3.5-haiku"},
            {"api_key": "key-from-env", "base_url": "https://gateway.example/v1"},
        )

    @pytest.mark.xfail(
        strict=True, reason="load(allowed_objects='all') admits only the classes in langchain-core's own mapping"
    )
    def test_serdes(self, model, snapshot):
        super().test_serdes(model, snapshot)
