"""Relays to single models: OpenAI's images, audio and moderations, Cohere's and Jina's reranking.

Above: the table of routes. Below: `Chorus.relaying`. `endpoints.py` answers, `bodies.py` finds the
model in a body.
"""
