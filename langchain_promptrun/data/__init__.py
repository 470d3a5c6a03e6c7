"""Generated data of the package: plain Python, no code, imported only when it is first needed."""
