"""The panels that could be served with what was measured. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from random import Random
from typing import Final

from chorus.evaluation.tuning.evidence import Variant
from chorus.wirejson import JSON

MAJORITY: Final = "majority"
"""The kind of selector that asks nobody (`workflow.nodes.majority`)."""
_SAMPLES: Final = (3, 5, 9)
_PASSES: Final = (1, 2, 4)
_MOST_MODELS: Final = 6


@dataclass(frozen=True, slots=True)
class Seats:
    """The workers of a panel: each variant with how often it is asked."""

    variants: tuple[tuple[Variant, int], ...]

    @property
    def count(self) -> int:
        """How many answers there are at most."""
        return sum(samples for _, samples in self.variants)


@dataclass(frozen=True, slots=True)
class Panel:
    """One way to answer. A panel of one seat is a single model. `judge` is None where the most
    frequent answer is taken; `direct` has the difficulties that a model answers alone, which
    `analyzer` names; `writer` is a synthesizer."""

    seats: Seats
    threshold: int | None = None
    quorum: int | None = None
    judge: str | None = None
    passes: int = 1
    analyzer: str | None = None
    direct: tuple[tuple[str, Variant], ...] = ()
    writer: str | None = None
    decisive: bool = False

    @property
    def is_single(self) -> bool:
        """Whether it is one call of one model."""
        return self.seats.count == 1 and not self.direct and self.writer is None

    @property
    def label(self) -> str:
        """Its description in a table."""
        names = [variant.label + (f" ×{samples}" if samples > 1 else "") for variant, samples in self.seats.variants]
        said = [" + ".join(names)]
        if self.seats.count > 1:
            said += [f"agreement {self.threshold}"] if self.threshold else []
            said += [f"quorum {self.quorum}"] if self.quorum else []
            passes = f" ×{self.passes}" if self.passes > 1 else ""
            said.append(f"judge {self.judge}{passes}" if self.judge else MAJORITY)
        if self.writer:
            said.append(f"writer {self.writer}" + (" unless decisive" if self.decisive else ""))
        if self.direct:
            levels = ", ".join(f"{level} → {variant.label}" for level, variant in self.direct)
            said.append(f"{self.analyzer} routes {levels}")
        return "; ".join(said)

    def tree(self) -> dict[str, JSON]:
        """Return the workflow that serves it, as a configuration writes it."""
        tree: dict[str, JSON] = {"workers": [_node(variant, samples) for variant, samples in self.seats.variants]}
        if self.judge is None:
            tree["selector"] = {"kind": MAJORITY}
        else:
            tree["selector"] = {"ref": self.judge, "passes": self.passes} if self.passes > 1 else {"ref": self.judge}
        if self.writer is not None:
            tree["synthesizer"] = {"ref": self.writer}
        if self.decisive:
            tree["decisive"] = True
        if self.threshold is not None:
            tree["agreement"] = {"threshold": self.threshold}
        if self.quorum is not None:
            tree["quorum"] = {"min": self.quorum}
        if self.direct:
            tree["analyzer"] = {"ref": self.analyzer}
            tree["difficulty"] = {level: _node(variant, 1) for level, variant in self.direct}
        return tree


def single(variant: Variant) -> Panel:
    """Return one call of one model."""
    return Panel(Seats(((variant, 1),)))


def listed(
    variants: Sequence[Variant], most_samples: dict[Variant, int], judges: Sequence[str], *, most: int, seed: int
) -> tuple[list[Panel], int]:
    """Return the panels without routing and writers, and how many there would be without the limit
    `most`: beyond it, single models stay and the rest is drawn with `seed`."""
    singles = [single(variant) for variant in variants]
    rest = list(_combined(variants, most_samples, judges))
    if len(rest) + len(singles) <= most:
        return singles + rest, len(singles) + len(rest)
    drawn = sorted(Random(seed).sample(range(len(rest)), max(most - len(singles), 0)))
    return singles + [rest[place] for place in drawn], len(singles) + len(rest)


def routed(panel: Panel, analyzer: str, cheap: Variant) -> Iterator[Panel]:
    """Yield two variants of `panel`: `cheap` alone answers the easy questions, or the easy and the
    medium ones."""
    if panel.is_single or panel.direct:
        return
    yield replace(panel, analyzer=analyzer, direct=(("easy", cheap),))
    yield replace(panel, analyzer=analyzer, direct=(("easy", cheap), ("medium", cheap)))


def written(panel: Panel, writer: str) -> Iterator[Panel]:
    """Yield two variants of `panel`: a synthesizer writes every answer, or only those without a
    decisive verdict."""
    if panel.judge is not None and panel.writer is None:
        yield replace(panel, writer=writer)
        yield replace(panel, writer=writer, decisive=True)


def _combined(variants: Sequence[Variant], most_samples: dict[Variant, int], judges: Sequence[str]) -> Iterator[Panel]:
    for seats in _seats(variants, most_samples):
        count = seats.count
        thresholds = [None, *sorted({2, count // 2 + 1, count} & set(range(2, count + 1)))]
        quorums = [None, *sorted({2, count - 1} & set(range(2, count)))]
        for quorum in quorums:
            # counting votes needs no judge that agreement could spare; it saves time alone
            for threshold in thresholds:
                if threshold is not None and quorum is not None and threshold > quorum:
                    continue
                if count > 2:
                    yield Panel(seats, threshold, quorum)
                for judge in judges:
                    if threshold is None or threshold <= count:
                        yield from (Panel(seats, threshold, quorum, judge, passes) for passes in _PASSES)


def _seats(variants: Sequence[Variant], most_samples: dict[Variant, int]) -> Iterator[Seats]:
    for size in range(2, min(len(variants), _MOST_MODELS) + 1):
        for chosen in combinations(variants, size):
            yield Seats(tuple((variant, 1) for variant in chosen))
    for variant in variants:
        for samples in _SAMPLES:
            if samples <= most_samples[variant]:
                yield Seats(((variant, samples),))
                yield from (Seats(((variant, samples), (other, 1))) for other in variants if other != variant)


def _node(variant: Variant, samples: int) -> dict[str, JSON]:
    node: dict[str, JSON] = {"ref": variant.ref}
    if variant.temperature:
        node["temperature"] = float(variant.temperature)
    if samples > 1:
        node["samples"] = samples
    return node
