"""The examples of retrieval and memory do what they say: sources kept, answers streamed, histories trimmed."""

import importlib
from pathlib import Path

import pytest

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import Reply

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    """Import an example by its name."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


# rag


@pytest.mark.parametrize(
    ("question", "source"),
    [
        ("Why do otters hold hands?", "otters.txt"),
        ("How far do owls turn their heads?", "owls.txt"),
        ("How many hearts do octopuses have?", "octopuses.txt"),
    ],
)
def test_an_answer_from_documents_comes_with_its_source(example, promptrun_server, question, source):
    pytest.importorskip("numpy")
    rag = example("rag")
    state = rag.chain().invoke(question)
    assert [document.metadata["source"] for document in state["sources"]] == [source]
    assert state["answer"] == f"Hello! You said: {question}"
    system = promptrun_server.requests[-1].body["messages"][0]["content"]
    assert rag.LIBRARY[source] in system


def test_sources_are_streamed_before_the_pieces_of_the_answer(example, promptrun_server):
    pytest.importorskip("numpy")
    promptrun_server.queue(Reply("So as not to part.", pieces=["So", " as", " not", " to", " part."]))
    parts = list(example("rag").streamed("Why do otters hold hands?"))
    answer = [value for key, value in parts if key == "answer" and value]
    assert answer == ["So", " as", " not", " to", " part."]
    keys = [key for key, _ in parts]
    assert keys.index("sources") < keys.index("answer")
    assert keys.count("sources") == 1


# chat_history


@pytest.fixture
def conversations(example, promptrun_server):
    return example("chat_history").Conversations(most_tokens=60)


# LangChain points new programs to LangGraph's persistence, and says so at each construction.
old_memory = pytest.mark.filterwarnings("ignore:.*(RunnableWithMessageHistory|InMemoryChatMessageHistory)")


@old_memory
def test_a_session_remembers_and_another_one_does_not_know(conversations, promptrun_server):
    conversations.say("tamar", "My name is Tamar.")
    conversations.say("tamar", "Who am I?")
    sent = [message["content"] for message in promptrun_server.requests[-1].body["messages"]]
    assert sent == [
        "Answer in one sentence.",
        "My name is Tamar.",
        "Hello! You said: My name is Tamar.",
        "Who am I?",
    ]
    conversations.say("nino", "Who am I?")
    assert len(promptrun_server.requests[-1].body["messages"]) == 2


@old_memory
def test_a_long_session_is_trimmed_by_the_models_own_count_and_kept_whole(conversations, promptrun_server):
    for number in range(6):
        conversations.say("tamar", f"This is what I say in turn {number}.")
    sent = promptrun_server.requests[-1].body["messages"]
    assert [message["role"] for message in sent[:2]] == ["system", "user"]
    assert sent[-1]["content"] == "This is what I say in turn 5."
    assert len(sent) < 12
    model = ChatPromptrun(model="anthropic/claude-haiku-4.5")
    assert model.get_num_tokens_from_messages([(m["role"], m["content"]) for m in sent]) <= 60
    assert len(conversations.histories["tamar"].messages) == 12
