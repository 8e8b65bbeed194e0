"""What can be said of a search, in sentences of both languages. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from chorus.evaluation.statistics import MeanInterval
from chorus.evaluation.table import interval, money, percent, points, seconds
from chorus.evaluation.tuning.choosing import Choice, FrontierRow
from chorus.evaluation.tuning.evidence import Evidence
from chorus.evaluation.tuning.resampling import Resamples
from chorus.evaluation.tuning.scoring import Scored
from chorus.evaluation.tuning.search import SearchResult
from chorus.texts import Text

TITLE: Final = Text("{count} questions, {panels:,} panels compared", "{count} 个问题，比较了 {panels:,} 个组合")
_COMPARED: Final = Text(
    "{panels:,} panels{possible} were compared on the same {count} questions, and the best of many looks better than "
    "it is. So the quality of each row is what its choice gives on folds of the questions that it was not made on.",
    "在同样的 {count} 个问题上比较了 {panels:,} 个组合{possible}；从许多组合中挑出的最好者，看起来总比实际更好。因此每一行的质量，"
    "都是在未参与挑选的那部分问题（交叉验证）上测得的。",
)
_POSSIBLE: Final = Text(
    " of {possible:,} possible ones, drawn at random,", "（从 {possible:,} 个可能的组合中随机抽取）"
)
_ORACLE: Final = Text(
    "The oracle, which always takes the best stored answer, has {share}: no panel that only selects can be better.",
    "总能选中最佳已存答案的理想选择器（oracle）为 {share}：只做选择的组合不可能更好。",
)
_NONE: Final = Text(
    "No panel is within the bounds. Without them the best, {name}, has {share}{cost} and a p95 of {secs}; the quickest "
    "has a p95 of {least}{cheapest}.",
    "没有组合满足给定的界限。不设界限时，最好的 {name} 为 {share}{cost}，p95 为 {secs}；最快的 p95 为 {least}{cheapest}。",
)
_AT_COST: Final = Text(", costs {cost} for 1,000 questions", "，每千题费用 {cost}")
_CHEAPEST: Final = Text(", the cheapest costs {cost} for 1,000 questions", "，最便宜的每千题费用为 {cost}")
_RECOMMENDED: Final = Text("Recommended: {name}.", "推荐：{name}。")
_GAIN: Final = Text(
    "Recommended: {name}. Over the cheapest single model, {cheapest}: {points}.",
    "推荐：{name}。与最便宜的单个模型 {cheapest} 相比：{points}。",
)
_NO_GAIN: Final = Text(
    "Recommended: {name}, the cheapest single model. No panel is shown to be better: choosing among them gains "
    "{points} on questions that the choice was not made on.",
    "推荐：{name}，即最便宜的单个模型。没有组合被证明更好：在未参与挑选的问题上，从中挑选带来 {points}。",
)
_SEEN: Final = Text(
    "On the questions that it was chosen on it looks {points:.1f} points better than that.",
    "在参与挑选的问题上，它看起来还要高 {points:.1f} 个百分点。",
)
_AGAINST: Final = Text("Against today's {name}: {points}.", "与现用的 {name} 相比：{points}。")
_WORSE_THAN_TODAY: Final = Text(
    "Against today's {name}: {points}. So today's is shown to be better: keep it until more questions say otherwise.",
    "与现用的 {name} 相比：{points}。现用的更好已被证明：在更多问题给出不同结论之前，请保留它。",
)
_POINTS: Final = Text("{mean} points {interval}", "{mean} 个百分点 {interval}")
_OTHER_LOOKS_BETTER: Final = Text(
    "{name} looks {better:.1f} points better {interval}, which is not shown. About {more:,} more questions would tell "
    "the two apart, if they differ as much as here.",
    "{name} 看起来高 {better:.1f} 个百分点 {interval}，但未被证明。若差距与此处相同，大约还需要 {more:,} 个问题才能区分两者。",
)
_NOT_APART: Final = Text(
    "The second is {name}; the first two differ by {points}, which is not shown. About {more:,} more questions would "
    "tell them apart, if they differ as much as here.",
    "第二名是 {name}；前两名相差 {points}，但未被证明。若差距与此处相同，大约还需要 {more:,} 个问题才能区分两者。",
)
_AS_GOOD: Final = Text(
    "The second is {name}: as good on these questions, and no cheaper.",
    "第二名是 {name}：在这些问题上同样好，但不更便宜。",
)
_SECOND: Final = Text(
    "The second is {name}; the first two differ by {points}.", "第二名是 {name}；前两名相差 {points}。"
)
_FEW_QUESTIONS: Final = Text(
    "{count} questions are few: the bootstrap's intervals are too narrow, down to no width at all. That is not "
    "certainty.",
    "{count} 个问题偏少：自助法（bootstrap）的区间过窄，甚至宽度为零。这并不代表确定。",
)
_NEW_CALLS: Final = Text("{calls:,} new calls of judges were spent.", "新增了 {calls:,} 次评审调用。")
_MODELLED: Final = Text(
    "Verdicts are stored or, in up to {share} of the questions of a row, those of a model fitted to the judge; the "
    "intervals include what is not known of it. --judge-calls asks the judge itself.",
    "评审结果取自已存记录；每行至多 {share} 的问题由拟合评审的模型代替，区间已包含该模型的不确定性。--judge-calls 可直接询问评审。",
)
_FITTED: Final = Text(
    "{judge}, fitted to {verdicts} verdicts, in log odds: right {skill:+.1f}, shown first {first:+.1f}, shown last "
    "{last:+.1f}, e times as long {length:+.1f}, its own model {own:+.1f}.",
    "{judge} 由 {verdicts} 次评审拟合（对数几率）：正确 {skill:+.1f}，排在最前 {first:+.1f}，排在最后 {last:+.1f}，"
    "长度为 e 倍 {length:+.1f}，出自它自己 {own:+.1f}。",
)
_LEFT_OUT: Final = Text(
    "Questions left out, since an answer or its score is missing: {count}.",
    "因缺少答案或评分而未计入的问题：{count} 个。",
)
_UNREAD: Final = Text(
    "{judge} gave no verdict that could be read in {times} of its calls.",
    "{judge} 有 {times} 次调用没有给出可读的评审结果。",
)
_UNREAD_ALL: Final = Text(
    "{judge} gave no verdict that could be read in {times} of its calls; so no panel with it is compared.",
    "{judge} 有 {times} 次调用没有给出可读的评审结果，因此不比较由它评审的组合。",
)
_NO_JUDGE: Final = Text(
    "No verdict of a selector is stored, so only panels without a judge are compared.",
    "没有已存的评审结果，因此只比较不用评审的组合。",
)
_UNPRICED: Final = Text(
    "Prices are unknown: the number of calls stands for the cost.", "价格未知：以调用次数代替费用。"
)
_FEW: Final = 30
_NOTHING: Final = 0.0005
"""Less than what a tenth of a point shows."""


def title(result: SearchResult, count: int) -> Text:
    """Return the title of an outcome on `count` questions."""
    return TITLE.filled(count=count, panels=len(result.scored))


def compared(result: SearchResult, count: int) -> Text:
    """Return the warning: how many panels were compared, and what that does to the best of them."""
    possible: Text | str = ""
    if result.possible > len(result.scored):
        possible = _POSSIBLE.filled(possible=result.possible)
    return _COMPARED.filled(panels=len(result.scored), possible=possible, count=count)


def oracle(evidence: Evidence) -> Text:
    """Return what the best stored answer to each question would give."""
    best = [
        max(answer.score for rows in evidence.answers.values() for answer in rows[place])
        for place in range(len(evidence.ids))
    ]
    return _ORACLE.filled(share=percent(sum(best) / len(best)))


def nothing_chosen(result: SearchResult) -> Text:
    """Return what is said where no panel is within the bounds."""
    best = max(result.scored, key=lambda one: one.mean)
    costs = [one.cost for one in result.scored if one.cost is not None]
    return _NONE.filled(
        name=best.name,
        share=percent(best.mean),
        secs=seconds(best.p95),
        least=seconds(min(one.p95 for one in result.scored)),
        cost="" if best.cost is None else _AT_COST.filled(cost=money(1000 * best.cost)),
        cheapest=_CHEAPEST.filled(cost=money(1000 * min(costs))) if costs else "",
    )


def of_choice(choice: Choice, today: Sequence[FrontierRow], resamples: Resamples) -> Iterator[Text]:
    """Yield what is recommended, and what that rests on."""
    chosen = choice.chosen.scored
    gain = _points(choice.gain)
    is_single = choice.cheapest.panel is not None and choice.cheapest.panel.is_single
    if not is_single:  # no single model is within the bounds
        yield _RECOMMENDED.filled(name=chosen.name)
    elif choice.is_gain_shown and chosen.name != choice.cheapest.name:
        yield _GAIN.filled(name=chosen.name, cheapest=choice.cheapest.name, points=gain)
    elif chosen.name == choice.cheapest.name:
        yield _NO_GAIN.filled(name=chosen.name, points=gain)
    else:
        yield _RECOMMENDED.filled(name=chosen.name)
    seen = choice.chosen.seen - choice.chosen.quality.mean
    if seen >= _NOTHING:
        yield _SEEN.filled(points=100 * seen)
    for row in today:
        apart = resamples.difference(chosen.quality, row.scored.quality)
        said = _WORSE_THAN_TODAY if apart.high < 0 else _AGAINST
        yield said.filled(name=row.scored.name, points=_points(apart))
    if choice.second is not None and choice.apart is not None:
        yield _second(choice.second, choice.apart, choice.more)
    if len(chosen.quality) < _FEW:
        yield _FEW_QUESTIONS.filled(count=len(chosen.quality))


def of_judges(choice: Choice, result: SearchResult, new_calls: int) -> Iterator[Text]:
    """Yield where the verdicts come from, and what is known of each judge."""
    if new_calls:
        yield _NEW_CALLS.filled(calls=new_calls)
    share = max((row.scored.modelled for row in (choice.chosen, *choice.frontier)), default=0.0)
    if share:
        yield _MODELLED.filled(share=percent(share))
    for judge, model in result.judges.models.items():
        skill, first, last, length, own = model.effects
        effects = {"skill": skill, "first": first, "last": last, "length": length, "own": own}
        yield _FITTED.filled(judge=judge, verdicts=model.verdicts, **effects)


def of_evidence(evidence: Evidence) -> Iterator[Text]:
    """Yield what the evidence lacks."""
    if evidence.left_out:
        yield _LEFT_OUT.filled(count=evidence.left_out)
    judges = {verdict.judge for verdict in evidence.verdicts}
    for judge, times in evidence.unread.items():
        yield (_UNREAD if judge in judges else _UNREAD_ALL).filled(judge=judge, times=times)
    if not judges:
        yield _NO_JUDGE
    if not evidence.is_priced:
        yield _UNPRICED


def _points(difference: MeanInterval) -> Text:
    return _POINTS.filled(mean=points(difference.mean), interval=interval(difference))


def _second(second: Scored, apart: MeanInterval, more: int | None) -> Text:
    if abs(apart.mean) < _NOTHING:
        return _AS_GOOD.filled(name=second.name)
    if more is not None and apart.mean < 0:
        turned = MeanInterval(0.0 - apart.mean, 0.0 - apart.high, 0.0 - apart.low)
        better = 100 * turned.mean
        return _OTHER_LOOKS_BETTER.filled(name=second.name, better=better, interval=interval(turned), more=more)
    if more is not None:
        return _NOT_APART.filled(name=second.name, points=_points(apart), more=more)
    return _SECOND.filled(name=second.name, points=_points(apart))
