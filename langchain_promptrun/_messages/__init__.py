"""LangChain's messages as the wire's."""
