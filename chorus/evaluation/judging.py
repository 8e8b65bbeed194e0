"""Which of two answers is better, where no rule can tell: a judge, asked in both orders."""

from __future__ import annotations

import secrets

from chorus.errors import ChorusError
from chorus.evaluation.dataset import Question
from chorus.events import RunFailed, RunFinished
from chorus.service import Chorus
from chorus.types import Answer, ChatRequest, Message, Sampling
from chorus.workflow.judging import prompts
from chorus.workflow.judging.prompts import Labelled
from chorus.workflow.judging.replies import Unreadable, new_word
from chorus.workflow.judging.verdict import read_verdict

_LABELS = ("A", "B")


async def compare(chorus: Chorus, judge: str, question: Question, mine: str, theirs: str) -> float:
    """Return 1 where `judge` prefers `mine` in both orders, 0 where it prefers `theirs`, else 0.5:
    its preference follows the order (Zheng et al., arXiv 2306.05685), or cannot be read.

    Raises:
        ChorusError: the judge does not answer.
    """
    if mine == theirs:
        return 0.5
    first = await _prefers(chorus, judge, question, (mine, theirs))
    second = await _prefers(chorus, judge, question, (theirs, mine))
    votes = [None if first is None else first == 0, None if second is None else second == 1]
    if votes == [True, True]:
        return 1.0
    return 0.0 if votes == [False, False] else 0.5


async def _prefers(chorus: Chorus, judge: str, question: Question, shown: tuple[str, str]) -> int | None:
    blocks = [Labelled(label, Answer(text)) for label, text in zip(_LABELS, shown, strict=True)]
    mark = new_word()
    ours = prompts.selector(blocks, new_word(), mark, notes=False)
    reference = () if question.answer is None else (Message("user", f"A correct answer is: {question.answer}"),)
    request = ChatRequest(judge, (*question.messages, *reference, ours), sampling=Sampling(temperature=0.2))
    unique = secrets.token_hex(12)
    async with chorus.run((request,), request_id=f"eval_{unique}", unique=unique, streaming=False) as journal:
        await journal.ended()
        over = journal.events[-1]
    if isinstance(over, RunFailed):
        raise ChorusError(f"the judge '{judge}' does not answer: {over.error.message}")
    assert isinstance(over, RunFinished)
    try:
        return read_verdict(over.answers[0].text, _LABELS, mark).choice
    except Unreadable:
        return None
