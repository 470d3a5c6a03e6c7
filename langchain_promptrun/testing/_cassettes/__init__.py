"""Recorded exchanges: the file, the secrets in it, recording and replaying."""
