"""What a stage does, in a sentence for people who wait, in the language of this process (W8)."""

from __future__ import annotations

from typing import Final

from chorus.events import Path, StageFinished, StageKind, StageStarted
from chorus.texts import Text

_BEGUN: Final[dict[StageKind, Text]] = {
    "recall": Text("{name} is read.", "正在读取 {name}。"),
    "analyzer": Text("{name} reads the request.", "{name} 正在分析请求。"),
    "worker": Text("{name} is answering.", "{name} 正在作答。"),
    "selector": Text("{name} compares the answers.", "{name} 正在比较各个答案。"),
    "synthesizer": Text("{name} writes the answer.", "{name} 正在撰写答案。"),
    "memorize": Text("{name} is written.", "正在写入 {name}。"),
}
_FAILED: Final = Text("{name} failed after {secs:.1f} s: {fault}.", "{name} 在 {secs:.1f} 秒后失败：{fault}。")
_CANCELLED: Final = Text("{name} was not waited for.", "不再等待 {name}。")
_CHOSEN: Final = Text("Chosen: {name}. {reason}", "选中：{name}。{reason}")
_ANSWERED: Final = Text("{name} has answered after {secs:.1f} s.", "{name} 在 {secs:.1f} 秒后作答。")


class StageSentences:
    """Sentences on the stages of one run, in the order of its events."""

    def __init__(self) -> None:
        self._stages: dict[Path, StageStarted] = {}

    def choice(self, event: StageStarted | StageFinished) -> int:
        """Return the index of the answer that the stage of `event` works for. `sentence` comes
        first."""
        return self._stages[event.path].choice

    def sentence(self, event: StageStarted | StageFinished) -> str:
        """Return what `event` means; "" where it is no news."""
        if isinstance(event, StageStarted):
            self._stages[event.path] = event
            return str(_BEGUN[event.stage].filled(name=event.name))
        stage = self._stages[event.path]
        secs = event.at - stage.at
        if event.fault is not None:
            return str(_FAILED.filled(name=stage.name, secs=secs, fault=event.fault.message))
        if event.status == "cancelled":
            return str(_CANCELLED.filled(name=stage.name))
        if stage.stage == "selector" and "selected_worker" in event.details:
            chosen, reason = event.details["selected_worker"], event.details["reasoning"]
            return str(_CHOSEN.filled(name=chosen, reason=reason))
        if stage.stage == "worker":
            return str(_ANSWERED.filled(name=stage.name, secs=secs))
        return ""
