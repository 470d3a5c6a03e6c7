"""Command line: `python -m langchain_promptrun`."""
