"""Tests of the scripts ask `chorus demo`."""

from tests.kit.fixtures import demo

__all__ = ["demo"]
