"""The wire's answers as LangChain's results, chunks and events."""
