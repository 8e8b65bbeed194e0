"""The help of the commands in Chinese. It is imported where the language is Chinese only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

HELP: Final[Mapping[str, str]] = {
    "Chorus: one local server in front of many language models. Several answer, one is chosen, and you see why.": (
        "Chorus：位于众多语言模型之前的本地服务器。多个模型作答，选出一个，并说明原因。"
    ),
    "Print the version.": "打印版本。",
    "Start the server.": "启动服务器。",
    "Start the server. SIGTERM stops it after its streams have ended; SIGHUP makes it read its configuration again.": (
        "启动服务器。收到 SIGTERM 后等流式响应结束再停止；收到 SIGHUP 时重新读取配置。"
    ),
    "The configuration file; else $CHORUS_CONFIG, else ~/.config/chorus/config.toml.": (
        "配置文件；默认为 $CHORUS_CONFIG，其次为 ~/.config/chorus/config.toml。"
    ),
    "The address to listen on; [server] host otherwise.": "监听地址；默认取 [server] host。",
    "The port; [server] port otherwise.": "端口；默认取 [server] port。",
    "Rewrite a file of the old form first, as `chorus migrate` does.": "先改写旧格式的文件，与 `chorus migrate` 相同。",
    "Require a key of every client; `chorus keys` makes them.": "只接受持有密钥的客户端；密钥由 `chorus keys` 生成。",
    "Read the configuration again whenever its file changes.": "配置文件变化时重新读取。",
    "How many processes serve, on one port.": "在同一端口上提供服务的进程数。",
    "Start the server with built-in demo models: no key, no network, no configuration file.": (
        "用内置的演示模型启动服务器：无需密钥、网络和配置文件。"
    ),
    "Find a local Ollama and API keys in the environment, and write a configuration that uses them.": (
        "查找本机的 Ollama 和环境变量中的 API 密钥，并写出使用它们的配置。"
    ),
    "Where to write; ~/.config/chorus/config.toml otherwise.": "写入位置；默认为 ~/.config/chorus/config.toml。",
    "Replace a file that exists.": "覆盖已有的文件。",
    "Take the first model of each provider, and ask nothing.": "取每个提供方的第一个模型，不作询问。",
    "Check a configuration; print its workflows as trees, with the calls, time and cost of one request.": (
        "检查配置；以树形打印各工作流，以及一个请求的调用次数、时间和费用。"
    ),
    "The file; the same as --config.": "文件；与 --config 相同。",
    "Tokens of a request, for the cost.": "每个请求的 token 数，用于估算费用。",
    "Tokens of each answer, for the cost.": "每个答案的 token 数，用于估算费用。",
    "Send each model one tiny request for each capability, and say what works.": (
        "针对每项能力向每个模型发送一个极小的请求，并报告哪些可用。"
    ),
    "With --live: print one JSON object and nothing else.": "与 --live 合用：只打印一个 JSON 对象。",
    "With --live: write `capabilities` into the file, and keep all the rest.": (
        "与 --live 合用：把 `capabilities` 写入文件，其余保持不变。"
    ),
    "With --live: seconds for each request.": "与 --live 合用：每个请求的时限（秒）。",
    "With --live: models that are asked at a time.": "与 --live 合用：同时询问的模型数。",
    "Rewrite a file of the old form and keep a backup beside it.": "把旧格式的文件改写为新格式，并在旁边保留备份。",
    "Rewrite a file of the old form and keep a backup beside it. A second run changes nothing.": (
        "把旧格式的文件改写为新格式，并在旁边保留备份。再次运行不会有任何改动。"
    ),
    "The file to rewrite.": "要改写的文件。",
    "Print the result, write nothing.": "只打印结果，不写文件。",
    "List the models and workflows of a configuration.": "列出配置中的模型和工作流。",
    "Ask one question.": "提出一个问题。",
    "Ask one question. On a terminal the workers are shown side by side; the answer goes to standard output as it comes, "
    "the stages to standard error.": (
        "提出一个问题。在终端中并排显示各个 worker；答案随生成写入标准输出，各阶段写入标准错误。"
    ),
    "What to ask.": "要问的问题。",
    "A model or workflow; `chorus`, else the first, otherwise.": "模型或工作流；默认为 `chorus`，没有则取第一个。",
    "Ask the built-in demo models.": "询问内置的演示模型。",
    "Ask the server at this address.": "询问位于该地址的服务器。",
    "The key for the server, where it needs one.": "服务器的密钥（如果需要）。",
    "Ask single models and workflows your own questions; print their quality, speed and cost.": (
        "用自己的问题评测单个模型和工作流；打印其质量、速度和费用。"
    ),
    "Ask single models and workflows your own questions; print their quality, speed and cost. Run it again to continue "
    "where it stopped.": "用自己的问题评测单个模型和工作流；打印其质量、速度和费用。再次运行会从中断处继续。",
    "The questions, one JSON object a line (docs/EVALUATION.md).": "问题，每行一个 JSON 对象（docs/EVALUATION.md）。",
    "Evaluate the built-in demo models.": "评测内置的演示模型。",
    "A workflow to evaluate; repeatable. All of them otherwise.": "要评测的工作流，可重复；默认为全部。",
    "Single models, by commas; else all that the workflows ask.": "单个模型，以逗号分隔；默认为工作流用到的全部模型。",
    "The model that compares answers that no rule can grade.": "比较规则无法评分的答案所用的模型。",
    "Models, by commas, whose bias as judges is measured on the stored answers.": (
        "以逗号分隔的模型，在已存的答案上测量它们作为评审的偏差。"
    ),
    "Pairs of answers that each of --judges compares, in two calls each.": (
        "--judges 中每个模型比较的答案对数，每对两次调用。"
    ),
    "Where results.jsonl and report.html go.": "results.jsonl 和 report.html 的存放位置。",
    "Questions that are asked at a time.": "同时提出的问题数。",
    "How many questions to ask, from the first; all otherwise.": "只用前若干个问题；默认为全部。",
    "The seed of the random pairs and of the bootstrap's intervals.": "抽取答案对和自助法区间所用的随机种子。",
    "Find the panel of models that is worth its calls, from the stored answers of an evaluation.": (
        "根据一次评测已存的答案，找出值得其调用次数的模型组合。"
    ),
    "Find the panel of models that is worth its calls, from the stored answers of an evaluation. Calls no model without "
    "--judge-calls. Run it again to continue where it stopped.": (
        "根据一次评测已存的答案，找出值得其调用次数的模型组合。除非给出 --judge-calls，否则不作任何询问；"
        "再次运行会从中断处继续。"
    ),
    "The folder that `chorus eval` wrote (its --out).": "`chorus eval` 写出的文件夹（其 --out）。",
    "The evaluation was of the built-in demo models.": "评测的是内置的演示模型。",
    "What 1,000 questions may cost.": "1,000 个问题的费用上限。",
    "Seconds that 95 % of the answers may take.": "95 % 的答案所允许的秒数。",
    "The least quality: a share such as 0.8, or 80 per cent.": "最低质量：比例（如 0.8）或百分数（80）。",
    "The largest number of new judge calls, on the panels that may still win.": (
        "最多新增多少次评审调用，用于仍在竞争的组合。"
    ),
    "Add the recommended panel as [workflows.NAME] to the file of --config.": (
        "把推荐的组合以 [workflows.NAME] 加入 --config 的文件。"
    ),
    "Judge calls that are made at a time.": "同时进行的评审调用数。",
    "The seed of the folds, the random draws and the bootstrap.": "分折、抽样和自助法所用的随机种子。",
    "Run the request of a stored trace again; print both results.": ("重新执行已存调用链中的请求；打印两次的结果。"),
    "The workflow_id of a trace.": "调用链的 workflow_id。",
    "The workflow or model to ask instead.": "改为询问的工作流或模型。",
    "The address of the server.": "服务器的地址。",
    "Serve one model over gRPC, as an inference worker for gateways.": "通过 gRPC 提供一个模型，作为网关的推理 worker。",
    "Serve one model over gRPC, as an inference worker for gateways. SIGTERM stops it after its answers have ended. Flags "
    "beat the environment (CHORUS_WORKER_MODEL and so on), which beats the table [worker] of the configuration. "
    "CHORUS_WORKER_API_KEY, or the file that CHORUS_WORKER_API_KEY_FILE names, is the key of the engine's own upstream.": (
        "通过 gRPC 提供一个模型，作为网关的推理 worker。收到 SIGTERM 后等答案结束再停止。命令行选项优先于环境变量"
        "（CHORUS_WORKER_MODEL 等），环境变量优先于配置中的 [worker] 表。CHORUS_WORKER_API_KEY，或由 "
        "CHORUS_WORKER_API_KEY_FILE 指定的文件，是引擎自身上游的密钥。"
    ),
    "What the engine loads: a folder, a file or an address.": "引擎加载的内容：文件夹、文件或地址。",
    "The name of the model for gateways.": "模型对外的名称。",
    "mlx-lm, llamacpp, openai or echo; else the one that fits the model.": (
        "mlx-lm、llamacpp、openai 或 echo；默认选用适合该模型的引擎。"
    ),
    "The address to listen on; 127.0.0.1 otherwise.": "监听地址；默认为 127.0.0.1。",
    "The gRPC port; 50051 otherwise.": "gRPC 端口；默认为 50051。",
    "The port of the metrics; 8001 otherwise.": "指标的端口；默认为 8001。",
    "Answers that are generated at a time; 8 otherwise.": "同时生成的答案数；默认为 8。",
    "Requests that may wait; 64 otherwise. More are refused.": "允许等待的请求数；默认为 64，超出即拒绝。",
    "Seconds that answers have after SIGTERM; 30 otherwise.": "SIGTERM 之后留给答案的秒数；默认为 30。",
    "The Consul agent to register at; CONSUL_HTTP_TOKEN is its token.": (
        "要注册到的 Consul agent；其令牌为 CONSUL_HTTP_TOKEN。"
    ),
    "HOST or HOST:PORT, as others reach the worker; where it listens otherwise.": (
        "其他机器访问该 worker 的 HOST 或 HOST:PORT；默认为其监听地址。"
    ),
    "A file with the Jinja template to use instead of the model's own.": "替代模型自带模板的 Jinja 模板文件。",
    "An option of the engine, KEY=VALUE; repeatable.": "引擎选项，KEY=VALUE，可重复。",
    "Serve the tools of Chorus to a client of MCP, over standard input and output.": (
        "通过标准输入输出，向 MCP 客户端提供 Chorus 的工具。"
    ),
    "Serve the tools of Chorus to a client of MCP, over standard input and output. The models and the store are those of "
    "the configuration. Where `[server] require_auth` is on, $CHORUS_API_KEY has to hold a key, or $CHORUS_API_KEY_FILE to "
    "name a file with one.": (
        "通过标准输入输出，向 MCP 客户端提供 Chorus 的工具。模型和存储取自配置。开启 `[server] require_auth` 时，"
        "$CHORUS_API_KEY 须为密钥，或由 $CHORUS_API_KEY_FILE 指定含有密钥的文件。"
    ),
    "Serve the built-in demo models.": "提供内置的演示模型。",
    "The user whose memory the tools read and write.": "工具读写谁的记忆。",
    "Ask a server whether it is ready: exit code 0 if so, else 1 and a sentence that says why.": (
        "询问服务器是否就绪：就绪则退出码为 0，否则为 1 并说明原因。"
    ),
    "Ask a server whether it is ready: exit code 0 if so, else 1 and a sentence that says why. No key and no configuration "
    "is needed; without a URL, a port that a variable sets (CHORUS__SERVER__PORT) is taken.": (
        "询问服务器是否就绪：就绪则退出码为 0，否则为 1 并说明原因。无需密钥和配置；未给出 URL 时，"
        "采用环境变量（CHORUS__SERVER__PORT）设定的端口。"
    ),
    "The server's address, http://127.0.0.1:11435 otherwise; of a worker grpc://127.0.0.1:50051.": (
        "服务器地址，默认为 http://127.0.0.1:11435；worker 为 grpc://127.0.0.1:50051。"
    ),
    "Ask whether the process lives, not whether it is ready.": "只询问进程是否存活，而非是否就绪。",
    "Ask an inference worker, over gRPC.": "通过 gRPC 询问推理 worker。",
    "With --worker: the model to ask for; the whole worker otherwise.": "与 --worker 合用：要询问的模型；默认为整个 worker。",
    "Seconds to wait for an answer.": "等待答复的秒数。",
    "Make, list and revoke client keys.": "生成、列出和吊销客户端使用的密钥。",
    "Make a key. It is printed once and kept nowhere.": "生成密钥。密钥只打印一次，不作保存。",
    "The name of the client.": "客户端的名字。",
    "The models and workflows that it may ask for, by commas; all otherwise.": (
        "允许请求的模型和工作流，以逗号分隔；默认为全部。"
    ),
    "How long it is valid: 12h, 90d, 4w; without an end otherwise.": "有效期：12h、90d、4w；默认永不过期。",
    "It may also read traces, metrics and upstreams.": "还可读取调用链、指标和上游。",
    "How many model calls: 60/minute, or several by commas: 5/second,1000/day.": (
        "模型调用次数：60/minute；多个以逗号分隔：5/second,1000/day。"
    ),
    "How many tokens: 100000/minute.": "token 数：100000/minute。",
    "What it may cost, in the currency of the prices; unbounded otherwise.": "费用上限，以价格所用的货币计；默认不限。",
    "The period of the budget, from 00:00 UTC, weeks from Monday; a month otherwise.": (
        "预算周期，自 UTC 00:00 起，周自周一起；默认为一个月。"
    ),
    "Where the keys are kept; the server's own place otherwise.": "密钥的存放位置；默认与服务器相同。",
    "List the keys, without the keys themselves.": "列出密钥的信息，不含密钥本身。",
    "Revoke a key; a running server knows within a second.": "吊销密钥；运行中的服务器一秒内即知晓。",
    "The id that `chorus keys list` shows.": "`chorus keys list` 显示的 id。",
}
"""Each help text of a command, an argument or an option, with single spaces, in Chinese."""

_FRAME: Final = {
    "Usage: ": "用法：",
    "\nOptions:\n": "\n选项：\n",
    "\nArguments:\n": "\n参数：\n",
    "\nCommands:\n": "\n命令：\n",
    "Show this message and exit.": "显示此说明并退出。",
    "  Example:  ": "  示例：  ",
    "[required]": "[必填]",
    "[default:": "[默认：",
}
"""What typer itself writes into a help."""
_COLUMNS: Final = 58
"""Characters of a line. typer counts characters, of which most are two columns wide here."""


def translated(command: Any) -> Any:
    """Return `command` with its help, and that of its subcommands, in Chinese."""
    translate_texts(command)
    for inner in getattr(command, "commands", {}).values():
        translated(inner)
    own = command.get_help
    command.get_help = lambda context: framed(own(context))
    return command


def translate_texts(command: Any) -> None:
    """Put the texts of `command` and of its options in Chinese."""
    command.help = _chinese(command.help)
    command.short_help = command.help.partition("。")[0] + "。"
    command.context_settings = {**command.context_settings, "terminal_width": _COLUMNS}
    for param in command.params:
        if getattr(param, "help", None):
            param.help = _chinese(param.help)


def framed(text: str) -> str:
    """Return the help `text` with typer's own words in Chinese."""
    for english, chinese in _FRAME.items():
        text = text.replace(english, chinese)
    return text


def _chinese(text: str | None) -> str:
    """Return the text in Chinese; one that is so already, or that no table has, as it is."""
    plain = " ".join((text or "").split())
    return HELP.get(plain, plain)
