"""OpenAI's Responses (A3): one protocol, from its input items to its output items."""
