"""What the figures of judges mean, in sentences: which to use, how, and what to beware of. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Final

from chorus.evaluation.judges.summary import Bias, Judges
from chorus.evaluation.statistics import MeanInterval
from chorus.evaluation.table import interval, percent
from chorus.texts import Text

_FEW: Final = 30
_NO_PAIR: Final = Text(
    "There is no pair to judge: judges are measured on two different answers to the same question.",
    "没有可供评审的答案对：评审的测量需要同一问题的两个不同答案。",
)
_NO_VERDICT: Final = Text("No reply of a judge holds a verdict.", "评审的回复中没有任何评审结果。")
_NOT_BEGUN: Final = Text("No judge has compared a pair yet.", "尚无评审比较过任何答案对。")
_FEW_PAIRS: Final = Text(
    "Only {count} pairs have a right and a wrong answer: ask more questions that a rule can grade, or raise "
    "--judge-pairs, before you trust who is best.",
    "只有 {count} 个答案对一对一错：在相信谁最好之前，请多问一些规则可以评分的问题，或调高 --judge-pairs。",
)
_UNGRADED: Final = Text(
    "No rule grades {unknown} of the {pairs} pairs: they count for the order and the place only.",
    "{pairs} 个答案对中有 {unknown} 个没有规则可评分：它们只用于换序和位置两项。",
)
_ONE_PASS: Final = Text("one pass", "评审 1 次")
_TWO_PASSES: Final = Text("two passes", "评审 2 次")
_STEADIEST: Final = Text(
    "{name} keeps its verdict most often ({kept}); how right it is cannot be known, since no pair has a right and a "
    "wrong answer. Use {passes}: {setting}",
    "{name} 的结论最稳定（{kept}）；由于没有一对一错的答案对，无法得知其正确率。请用“{passes}”：{setting}",
)
_USE: Final = Text(
    "Use {name} with {passes}{control}: it prefers the right answer to a wrong one in {agrees} of {contrasts} "
    "pairs{one}. {setting}",
    "请用 {name}，{passes}{control}：在 {contrasts} 个答案对中，它选正确答案的比例为 {agrees}{one}。{setting}",
)
_WITH_ONE: Final = Text("; {share} with one", "；评审 1 次时为 {share}")
_CONTROL: Final = Text(" and length control", "并校正长度")
_BEHIND: Final = Text(
    "{name} is {points:.1f} points {interval} behind it at two passes{control}{chance}{cost}.",
    "{name} 在评审 2 次{control}时落后 {points:.1f} 个百分点 {interval}{chance}{cost}。",
)
_CHANCE: Final = Text(", which may be chance", "，可能是偶然")
_COSTS: Final = Text("; a call costs {times:.2g} times as much", "；每次调用的费用为其 {times:.2g} 倍")
_COSTS_THE_SAME: Final = Text("; a call costs as much", "；每次调用的费用相同")
_PLACE: Final = Text(
    "{name} prefers what is shown {place} in {share}: passes = 2 cancels that.",
    "{name} 在 {share} 的情况下偏好排在{place}的答案：passes = 2 可抵消。",
)
_FIRST: Final = Text("first", "第一")
_SECOND: Final = Text("second", "第二")
_LENGTH: Final = Text(
    "{name} prefers an answer {size}, all else equal, in {share}: {helps}",
    "其他条件相同时，{name} 在 {share} 的情况下偏好长度为{size}的答案：{helps}",
)
_LONGER: Final = Text("twice as long", "两倍")
_SHORTER: Final = Text("half as long", "一半")
_TAKEN_OUT: Final = Text(
    "length_control = true with length_effect = {effect:g} takes that out ({two} right with two passes, {controlled} "
    "with it): {setting}",
    "length_control = true 且 length_effect = {effect:g} 可校正（评审 2 次正确率 {two}，校正后 {controlled}）：{setting}",
)
_NOT_IN_SCORES: Final = Text(
    "its scores do not show it, so that length_control cannot take it out",
    "其评分中看不出这一点，因此 length_control 无法校正",
)
_FAMILY: Final = Text(
    "{name} prefers {whose}, all else equal, in {share} ({pairs} pairs): let it judge workers of other families.",
    "其他条件相同时，{name} 在 {share} 的情况下偏好{whose}（{pairs} 个答案对）：让它评审其他家族的 worker。",
)
_OWN: Final = Text("its own family's answers", "同族模型的答案")
_OTHERS: Final = Text("answers of other families", "其他家族的答案")
_UNREADABLE: Final = Text("{name}: {share} of its replies hold no verdict.", "{name}：{share} 的回复中没有评审结果。")


def advice(judges: Judges) -> list[Text]:
    """Return the sentences, the recommendation first."""
    if not judges.pairs:
        return [_NO_PAIR]
    if judges.best is None:
        return [_NO_VERDICT if any(row.pairs for row in judges.rows) else _NOT_BEGUN]
    lines = [_recommended(judges.best), *_others(judges)]
    lines += [line for row in judges.rows for line in _warnings(row)]
    if judges.best.contrasts < _FEW:
        lines.append(_FEW_PAIRS.filled(count=judges.best.contrasts))
    if judges.unknown:
        lines.append(_UNGRADED.filled(unknown=judges.unknown, pairs=judges.pairs))
    return lines


def setting(row: Bias) -> str:
    """Return the selector to configure for a judge, as TOML."""
    more = f", passes = {row.passes}" if row.passes > 1 else ""
    if (effect := row.length_effect) is not None:
        more += f", length_control = true, length_effect = {effect:g}"
    return f"selector = {{ ref = {json.dumps(row.name, ensure_ascii=False)}{more} }}"


def _recommended(best: Bias) -> Text:
    passes = _ONE_PASS if best.passes == 1 else _TWO_PASSES
    if not best.contrasts:
        kept = _of(best.order_kept)
        return _STEADIEST.filled(name=best.name, kept=kept, passes=passes, setting=setting(best))
    return _USE.filled(
        name=best.name,
        passes=passes,
        control=_CONTROL if best.length_effect is not None else "",
        agrees=_of(best.agrees),
        contrasts=best.contrasts,
        one=_WITH_ONE.filled(share=percent(best.one_pass.mean)) if best.passes > 1 else "",
        setting=setting(best),
    )


def _others(judges: Judges) -> Iterator[Text]:
    best = judges.best
    assert best is not None
    for row in judges.rows:
        behind = judges.behind.get(row.name)
        if behind is None or math.isnan(behind.mean):
            continue
        cost: Text | str = ""
        if row.cost is not None and best.cost:
            times = row.cost / best.cost
            cost = _COSTS_THE_SAME if 0.95 < times < 1.05 else _COSTS.filled(times=times)
        yield _BEHIND.filled(
            name=row.name,
            points=100 * behind.mean,
            interval=interval(behind),
            control=_CONTROL if row.length_effect is not None else "",
            chance=_CHANCE if behind.low <= 0 <= behind.high else "",
            cost=cost,
        )


def _warnings(row: Bias) -> Iterator[Text]:
    if row.prefers_a_place:
        is_first = row.first_place.mean > 0.5
        share = row.first_place if is_first else _turned(row.first_place)
        yield _PLACE.filled(name=row.name, place=_FIRST if is_first else _SECOND, share=_of(share))
    if row.likes_length:
        longer = row.twice_as_long.mean > 0.5
        share = row.twice_as_long if longer else _turned(row.twice_as_long)
        size = _LONGER if longer else _SHORTER
        yield _LENGTH.filled(name=row.name, size=size, share=_of(share), helps=_helps(row))
    if row.prefers_its_family:
        likes = row.own_family.mean > 0.5
        share = row.own_family if likes else _turned(row.own_family)
        whose = _OWN if likes else _OTHERS
        yield _FAMILY.filled(name=row.name, whose=whose, share=_of(share), pairs=row.own_pairs)
    if row.unreadable > 0:
        yield _UNREADABLE.filled(name=row.name, share=percent(row.unreadable))


def _helps(row: Bias) -> Text:
    """Return what takes out that a judge likes a length."""
    if row.length_effect is None:
        return _NOT_IN_SCORES
    two, controlled = percent(row.two_passes.mean), percent(row.controlled.mean)
    return _TAKEN_OUT.filled(effect=row.length_effect, two=two, controlled=controlled, setting=setting(row))


def _turned(share: MeanInterval) -> MeanInterval:
    return MeanInterval(1 - share.mean, 1 - share.high, 1 - share.low)


def _of(share: MeanInterval) -> str:
    return f"{percent(share.mean)} {interval(share)}".rstrip()
