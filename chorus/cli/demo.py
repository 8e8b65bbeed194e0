"""`chorus demo`: the whole server on in-process models, without key, network and file (M1)."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from chorus import config as configuration
from chorus.cli.common import HostOption, PortOption
from chorus.config import Config
from chorus.serving.server import run_server
from chorus.texts import Text

EXAMPLE = "chorus demo --port 11435"

_ANNOUNCEMENT: Final = Text(
    """\
The Chorus demo runs at {address}. Its models are small programs in this process, not language models: they know
Chorus's handbook, arithmetic and a few operations on text. `chorus init` sets up real ones.

See several models answer, which one is chosen, and why:

  {address}/ui/

The same without a browser (the last event before [DONE] has the trace):

  curl -sN {address}/v1/chat/completions -d '{{"model":"chorus","stream":true,"include_workflow":true,
    "messages":[{{"role":"user","content":"What is 17 * 23 + 4?"}}]}}'

More to try:
  "How does the selector choose?"     the librarian reads the handbook
  "moody: fail. What is 2 + 2?"       one worker fails, and the answer still arrives
  "moody: slow. What is 2 + 2?"       one worker is slow
  {address}/api/v1/workflows          the traces of the last requests
  any OpenAI client with the base URL {address}/v1, any Ollama client with {address}

Ctrl-C stops it.""",
    """\
Chorus 演示已在 {address} 提供服务。其中的模型是本进程内的小程序，并非语言模型：它们了解 Chorus 的手册、
算术和一些文本操作。`chorus init` 可配置真实的模型。

观看多个模型作答、选出一个及其原因：

  {address}/ui/

不用浏览器也可以（调用链在 [DONE] 之前的最后一个事件中）：

  curl -sN {address}/v1/chat/completions -d '{{"model":"chorus","stream":true,"include_workflow":true,
    "messages":[{{"role":"user","content":"17 * 23 + 4 等于多少？"}}]}}'

还可以试试：
  "工作流有哪些阶段？"                librarian 查阅手册
  "moody: fail. 2 + 2 等于多少？"     一个 worker 失败，答案照常返回
  "moody: slow. 2 + 2 等于多少？"     一个 worker 响应缓慢
  {address}/api/v1/workflows          最近请求的调用链
  {address}/v1 供任何 OpenAI 客户端使用，{address} 供任何 Ollama 客户端使用

按 Ctrl-C 停止。""",
)


def demo_config() -> Config:
    """Return the built-in configuration."""
    text = (files("chorus.cli") / "demo.toml").read_text(encoding="utf-8")
    return configuration.loads(text, source="the built-in demo configuration", environ={})


def run(host: HostOption = None, port: PortOption = None) -> None:
    """Start the server with built-in demo models: no key, no network, no configuration file."""
    run_server(demo_config(), host, port, str(_ANNOUNCEMENT))
