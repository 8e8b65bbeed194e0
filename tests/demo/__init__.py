"""Tests of the demo models: what they answer, and how the judge decides."""
