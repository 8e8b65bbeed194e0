"""What the figures of judges mean, in sentences: which to use, how, and what to beware of. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from chorus.evaluation.judges.summary import Bias, Judges
from chorus.evaluation.statistics import MeanInterval
from chorus.evaluation.table import interval, percent

_FEW = 30


def advice(judges: Judges) -> list[str]:
    """Return the sentences, the recommendation first."""
    if not judges.pairs:
        return ["There is no pair to judge: judges are measured on two different answers to the same question."]
    if judges.best is None:
        is_begun = any(row.pairs for row in judges.rows)
        return ["No reply of a judge holds a verdict." if is_begun else "No judge has compared a pair yet."]
    lines = [_recommended(judges.best), *_others(judges)]
    lines += [line for row in judges.rows for line in _warnings(row)]
    if judges.best.contrasts < _FEW:
        lines.append(
            f"Only {judges.best.contrasts} pairs have a right and a wrong answer: ask more questions that a rule can "
            "grade, or raise --judge-pairs, before you trust who is best."
        )
    if judges.unknown:
        lines.append(
            f"No rule grades {judges.unknown} of the {judges.pairs} pairs: they count for the order and the place only."
        )
    return lines


def setting(row: Bias) -> str:
    """The selector to configure for a judge, as TOML."""
    more = f", passes = {row.passes}" if row.passes > 1 else ""
    if (effect := row.length_effect) is not None:
        more += f", length_control = true, length_effect = {effect:g}"
    return f"selector = {{ ref = {json.dumps(row.name, ensure_ascii=False)}{more} }}"


def _recommended(best: Bias) -> str:
    passes = "one pass" if best.passes == 1 else "two passes"
    if not best.contrasts:
        return (
            f"{best.name} keeps its verdict most often ({_of(best.order_kept)}); how right it is cannot be known, since no "
            f"pair has a right and a wrong answer. Use {passes}: {setting(best)}"
        )
    one = f"; {percent(best.one_pass.mean)} with one" if best.passes > 1 else ""
    control = " and length control" if best.length_effect is not None else ""
    return (
        f"Use {best.name} with {passes}{control}: it prefers the right answer to a wrong one in {_of(best.agrees)} of "
        f"{best.contrasts} pairs{one}. {setting(best)}"
    )


def _others(judges: Judges) -> Iterator[str]:
    best = judges.best
    assert best is not None
    for row in judges.rows:
        behind = judges.behind.get(row.name)
        if behind is None or math.isnan(behind.mean):
            continue
        chance = ", which may be chance" if behind.low <= 0 <= behind.high else ""
        cost = ""
        if row.cost is not None and best.cost:
            times = row.cost / best.cost
            cost = "; a call costs " + ("as much" if 0.95 < times < 1.05 else f"{times:.2g} times as much")
        control = " and length control" if row.length_effect is not None else ""
        yield (
            f"{row.name} is {100 * behind.mean:.1f} points {interval(behind)} behind it at two passes{control}{chance}{cost}."
        )


def _warnings(row: Bias) -> Iterator[str]:
    if row.prefers_a_place:
        place = "first" if row.first_place.mean > 0.5 else "second"
        share = row.first_place if place == "first" else _turned(row.first_place)
        yield f"{row.name} prefers what is shown {place} in {_of(share)}: passes = 2 cancels that."
    if row.likes_length:
        longer = row.twice_as_long.mean > 0.5
        share = row.twice_as_long if longer else _turned(row.twice_as_long)
        size = "twice as long" if longer else "half as long"
        effect = row.length_effect
        helps = (
            f"length_control = true with length_effect = {effect:g} takes that out ({percent(row.two_passes.mean)} "
            f"right with two passes, {percent(row.controlled.mean)} with it): {setting(row)}"
            if effect is not None
            else "its scores do not show it, so that length_control cannot take it out"
        )
        yield f"{row.name} prefers an answer {size}, all else equal, in {_of(share)}: {helps}"
    if row.prefers_its_family:
        likes = row.own_family.mean > 0.5
        share = row.own_family if likes else _turned(row.own_family)
        whose = "its own family's answers" if likes else "answers of other families"
        yield (
            f"{row.name} prefers {whose}, all else equal, in {_of(share)} ({row.own_pairs} pairs): let it judge "
            "workers of other families."
        )
    if row.unreadable > 0:
        yield f"{row.name}: {percent(row.unreadable)} of its replies hold no verdict."


def _turned(share: MeanInterval) -> MeanInterval:
    return MeanInterval(1 - share.mean, 1 - share.high, 1 - share.low)


def _of(share: MeanInterval) -> str:
    return f"{percent(share.mean)} {interval(share)}".rstrip()
