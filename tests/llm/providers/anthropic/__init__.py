"""Tests of the provider for Anthropic's Messages API."""
