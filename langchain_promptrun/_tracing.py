"""How a run is traced to the prompt that made it: metadata that name project, tag and version.

They are on the prompt's own run, on the runs above it where the handler is one of LangChain's tracers, and on the run
of a `ChatPromptrun` that gets what the prompt made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from langchain_core.language_models.base import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from typing_extensions import override

if TYPE_CHECKING:
    from langchain_core.callbacks.manager import BaseRunManager
    from langchain_core.language_models.chat_models import BaseChatModel as _Model
else:
    _Model = object  # what pydantic builds for a further class takes time at import

Config = RunnableConfig | None

PROJECT, TAG, VERSION = "promptrun_prompt_project", "promptrun_prompt_tag", "promptrun_prompt_version"
"""Names in the metadata of a run."""


def traced(config: Config, facts: dict[str, Any]) -> RunnableConfig:
    config = ensure_config(config)
    config["metadata"] = {**config.get("metadata", {}), **facts}
    return config


def name_ancestors(manager: BaseRunManager, facts: dict[str, Any]) -> None:
    """Add a prompt's metadata to the runs above, which began before its version was known; the first prompt counts.

    LangChain's tracers keep their unfinished runs in `run_map`, and report the metadata as it is at a run's end.
    """
    for handler in manager.handlers:
        runs = getattr(handler, "run_map", None)
        if not isinstance(runs, dict):
            continue
        run: Any = runs.get(str(manager.parent_run_id))
        while isinstance(getattr(run, "extra", None), dict):
            # replaced, not changed: the tracer's thread may be reading
            run.extra = {**run.extra, "metadata": {**facts, **(run.extra.get("metadata") or {})}}
            run = runs.get(str(run.parent_run_id))


class PromptedModel(_Model):
    """A chat model whose runs carry the metadata of the prompt that they come from."""

    @override
    def invoke(self, input: LanguageModelInput, config: Config = None, **kwargs: Any) -> AIMessage:
        return super().invoke(input, _config_for(input, config), **kwargs)

    @override
    async def ainvoke(self, input: LanguageModelInput, config: Config = None, **kwargs: Any) -> AIMessage:
        return await super().ainvoke(input, _config_for(input, config), **kwargs)

    @override
    def stream(self, input: LanguageModelInput, config: Config = None, **kwargs: Any) -> Iterator[AIMessageChunk]:
        return super().stream(input, _config_for(input, config), **kwargs)

    @override
    def astream(self, input: LanguageModelInput, config: Config = None, **kwargs: Any) -> AsyncIterator[AIMessageChunk]:
        return super().astream(input, _config_for(input, config), **kwargs)

    @override
    def _chat_model_stream_v3(self, input: LanguageModelInput, config: Config = None, **kwargs: Any) -> Any:
        return super()._chat_model_stream_v3(input, _config_for(input, config), **kwargs)

    @override
    def _achat_model_stream_v3(self, input: LanguageModelInput, config: Config = None, **kwargs: Any) -> Any:
        return super()._achat_model_stream_v3(input, _config_for(input, config), **kwargs)


def _config_for(input_: LanguageModelInput, config: Config) -> Config:
    facts = getattr(input_, "promptrun_trace", None)  # of a prompt's value
    return config if facts is None else traced(config, facts)
