"""The small model of the stand-in server: a request's body -> replies."""
