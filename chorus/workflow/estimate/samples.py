"""Samples of one model, which are asked in waves (`nodes/waves.py`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chorus.workflow.judging.agreement import needed
from chorus.workflow.plan import Leaf, Node


def units(nodes: Sequence[Node]) -> Iterator[tuple[Node, int]]:
    """Yield the workers of a layer with their number; only the samples of one leaf are several."""
    groups: dict[str, list[Node]] = {}
    for place, node in enumerate(nodes):
        sampled = node.samples if isinstance(node, Leaf) else None
        groups.setdefault(f"samples {sampled.group}" if sampled is not None else f"worker {place}", []).append(node)
    return ((group[0], len(group)) for group in groups.values())


def settles(node: Node, size: int) -> bool:
    """Return whether so many samples can settle the answer; what is not sampled never does."""
    return isinstance(node, Leaf) and node.samples is not None and size >= first_wave(node)


def first_wave(node: Node) -> int:
    """Return how many samples are asked at first, where there are enough."""
    samples = node.samples if isinstance(node, Leaf) else None
    return needed(0, 0, samples.confidence) if samples is not None else 1


def most_waves(node: Node, size: int) -> int:
    """Return the most waves in which `size` samples can come.

    The most come where one sample of the first wave disagrees: each further wave is a single sample
    that could settle it and does not. Where no two agree, all others come in one wave.
    """
    first = first_wave(node)
    if size <= first:
        return 1
    return 2 if first < 3 else 1 + size - first
