"""Tests of the documentation ask `chorus demo`."""

from tests.kit.fixtures import demo

__all__ = ["demo"]
