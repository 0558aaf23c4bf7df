"""Maintainer scripts, run with `python -m tools.<name>`."""
