"""A wire that answers GET /prompt, a server with a project, and calls in both colours."""

import asyncio
import weakref

import pytest

from langchain_promptrun import PromptrunPrompt

from .promptwire import PromptWire, collected, run_apart


@pytest.fixture
def wire():
    wire = PromptWire()
    yield wire
    wire.close()


@pytest.fixture(params=["sync", "async"])
def colour(request):
    return request.param


@pytest.fixture
def call(colour):
    """Calls a method by its sync name, in either colour."""

    async def call(prompt, name, *args, **kwargs):
        if colour == "sync":
            return await asyncio.to_thread(getattr(prompt, name), *args, **kwargs)
        return await getattr(prompt, f"a{name}")(*args, **kwargs)

    return call


@pytest.fixture
def project(promptrun_server):
    project = promptrun_server.prompts.create("Essays")
    project.publish("Generate {{word_count}} words.", tags=["prod"], model="openai/gpt-4o", temperature=0.5)
    return project


@pytest.fixture(params=["httpx", "aiohttp"])
def make(request, project):
    """Makes prompts of the project, over either transport."""
    made = []

    def make(**fields):
        prompt = PromptrunPrompt(**{"project_id": project.id, "async_transport": request.param, **fields})
        made.append(weakref.ref(prompt))
        return prompt

    yield make
    # what runs in the background must not meet a server that is closing
    for prompt in [found for reference in made if (found := reference()) is not None]:
        prompt.close()
    run_apart(collected())
