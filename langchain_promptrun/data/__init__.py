"""Data of the package, partly generated: plain Python, no code, imported only when it is first needed."""
