"""OpenAI's other endpoints (images, audio, moderations) and Cohere's and Jina's reranking, relayed
to single models.

Above: the table of routes. Below: `Chorus.relaying`. `endpoints.py` answers, `bodies.py` finds the
model in a body.
"""
