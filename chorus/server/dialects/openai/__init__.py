"""OpenAI's chat completions and completions (A2)."""
