# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "numpy"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""Answers from documents: found in a vector store in memory, streamed, and given together with their sources."""

from __future__ import annotations

import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnableParallel, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.runnables import Runnable

LIBRARY = {
    "otters.txt": "Otters hold hands while they sleep, so that they do not drift apart.",
    "owls.txt": "Owls turn their heads by 270 degrees, since their eyes cannot move.",
    "octopuses.txt": "Octopuses have three hearts, and two of them stop when they swim.",
}
PROMPT = ChatPromptTemplate([("system", "Answer from these notes alone:\n{notes}"), ("human", "{question}")])


class WordCounts(Embeddings):
    """Counts words: a stand-in for an embedding model that needs neither a network nor weights."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Embed one text: how often each word occurs, words in 512 boxes."""
        boxes = Counter(zlib.crc32(word.strip("?.,").encode()) % 512 for word in text.lower().split())
        return [float(boxes[box]) for box in range(512)]


def chain() -> Runnable[str, dict[str, Any]]:
    """Build a chain from a question to the question, its sources and the answer."""
    documents = [Document(text, metadata={"source": source}) for source, text in LIBRARY.items()]
    store = InMemoryVectorStore.from_documents(documents, WordCounts())
    found = RunnableParallel(question=RunnablePassthrough(), sources=store.as_retriever(search_kwargs={"k": 1}))
    notes = RunnableLambda(lambda state: "\n".join(document.page_content for document in state["sources"]))
    answer = PROMPT | ChatPromptrun(model="anthropic/claude-haiku-4.5") | StrOutputParser()
    return found.assign(notes=notes).assign(answer=answer)


def streamed(question: str) -> Iterator[tuple[str, Any]]:
    """Stream the chain's parts: the sources as soon as they are found, then the answer piece by piece."""
    for part in chain().stream(question):
        yield from part.items()


def main() -> None:
    """Show the sources, then the answer as it comes."""
    for key, value in streamed("Why do otters hold hands?"):
        if key == "sources":
            print("from", *(document.metadata["source"] for document in value), end=": ")
        elif key == "answer":
            print(value, end="", flush=True)
    print()


if __name__ == "__main__":
    run(main)
