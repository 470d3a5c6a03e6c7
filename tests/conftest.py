"""Fixtures that all tests share."""

pytest_plugins = ["langchain_promptrun.testing.plugin"]
