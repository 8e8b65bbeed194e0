"""Anthropic's messages (A4)."""
