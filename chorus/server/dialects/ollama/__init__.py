"""Ollama's chat and generate (A1)."""
