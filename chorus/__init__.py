"""Chorus: one local server in front of many language models.

The floor plan is in docs/ARCHITECTURE.md; in one sentence: a dialect turns a wire request into one
`ChatRequest`, the workflow runs and writes one journal of typed events, every model call goes down
one stack of `Upstream`s, an encoder reads the journal back onto the wire.
"""

__version__ = "0.2.0"

__all__ = ["__version__"]
