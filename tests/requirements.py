"""The specification's requirements, each in one or two sentences, all delivered by this version.

`@pytest.mark.requirement("W6")` says which test holds one. `test_requirements.py` checks both
directions: no test names a requirement that does not exist, and every requirement has a test.
`python -m scripts.requirements` makes docs/REQUIREMENTS.md of this table and the marks.
"""

from typing import Final

GROUPS: Final = {
    "C": "Configuration",
    "W": "The workflow engine",
    "L": "Upstream clients",
    "D": "Pools, balancing and discovery",
    "K": "Admission and traffic control",
    "A": "API",
    "S": "Security",
    "M": "Demo, storage, sessions and memory",
    "I": "Inference workers",
    "O": "Observability",
    "T": "Tests, documents and delivery",
}

SENTENCES: Final = {
    "C1": (
        "`--config` beats `CHORUS_CONFIG`, which beats `~/.config/chorus/config.toml`. A named "
        "file that does not exist is an error, and `chorus serve` without any file exits with 2"
        " and names `chorus init`, `--config` and `chorus demo`."
    ),
    "C2": (
        "The file is TOML. All of its errors are reported at once, each with file, table, key, "
        "what was found (never a secret) and what was expected; an unknown key is an error that"
        " suggests the nearest one."
    ),
    "C3": ("Every key of `[server]` has a default, so that a file with the three original sections stays valid."),
    "C4": (
        "`[[model]]` names a model, its address, key, provider, replicas, limits, capabilities "
        "and prices. Values may be `${NAME}` or `${NAME:-default}`; an unset variable without a"
        " default is an error that names it."
    ),
    "C5": (
        "A workflow is a tree of analyzer, workers, selector and synthesizer, in JSON or as "
        "TOML tables. A worker may be a workflow, which inherits what it does not name; unknown"
        " kinds of nodes are refused by name."
    ),
    "C6": (
        "`nested_worker_depth` makes a nested workflow of every leaf worker, level by level. "
        "`chorus check` prints the tree and the calls; more than 256 leaf calls are an error "
        "unless `max_leaf_calls` allows them."
    ),
    "C7": (
        '`[workflow.timeouts]` limits each stage, and `[workflow.domains."host"]` overrides '
        "single limits for models of that host."
    ),
    "C8": (
        "A workflow that names an undefined model is refused at start with one fixed sentence "
        "and exit code 2. So are duplicate names, empty workers, bad JSON (with its line in the"
        " TOML file) and bad temperatures."
    ),
    "C9": (
        "`[workflows.NAME]` is a further workflow with the model id `chorus/NAME`; `[workflow-"
        "integration]` is `chorus`, also with the tag `:latest`."
    ),
    "C10": (
        "`chorus migrate` rewrites a file of the old form atomically and keeps a backup that is"
        " never overwritten; a second run changes nothing. `chorus serve` migrates such a file "
        "in memory and says so once."
    ),
    "C11": (
        "The commands are `serve`, `demo`, `init`, `check`, `migrate`, `models`, `ask`, "
        "`worker`, `keys` and `version`, among others. Each `--help` shows an example; exit "
        "codes are 0, 1 (runtime) and 2 (usage or configuration)."
    ),
    "C12": (
        "SIGHUP, or a change of the file if configured, swaps models and workflows atomically. "
        "Requests in flight finish on the old ones, and a bad file is refused with its errors "
        "in the log."
    ),
    "W1": (
        "A workflow has four stages: an analyzer reads the request, workers answer "
        "concurrently, a selector chooses, a synthesizer writes. Workers get the conversation "
        "as messages, never as flattened text."
    ),
    "W2": (
        "A stage that fails, hangs or answers nonsense leaves its reason in the trace and "
        "degrades to the next best thing. Only a request without any candidate fails, with 502 "
        "`all_workers_failed` and a reason for each worker."
    ),
    "W3": (
        "All leaves whose inputs are ready start together, and a worker that does not need the "
        "analyzer starts beside it. `max_parallel` bounds one request, `max_concurrency` one "
        "model."
    ),
    "W4": (
        "A fixed order of rules decides the temperature of each call, and the trace records the"
        " value and its source. `docs/TEMPERATURE_CONFIG.md` has the table that the tests run."
    ),
    "W5": (
        "Answers of analyzers and selectors are read robustly: code fences, prose around JSON, "
        "trailing commas, single quotes, labels instead of numbers, `<think>` blocks."
    ),
    "W6": (
        "The selector sees candidates under neutral labels, in random order, delimited so that "
        "their text cannot steer it. `passes` asks it several times in different orders and "
        "adds the ranks (Borda)."
    ),
    "W7": (
        "Quorum, agreement and routing by difficulty save calls and time. Each is off unless "
        "configured, and is in the trace when it is taken."
    ),
    "W8": (
        "The synthesizer's tokens go out one by one as they arrive. Until then the stream "
        "carries heartbeats and, with `progress`, the stages as reasoning."
    ),
    "W9": (
        "`include_workflow` adds the trace to an answer: every stage with its model, status, "
        "times, temperature, usage and error. `GET /api/v1/workflows/{id}` returns it later."
    ),
    "W10": (
        "Tools and response formats pass through a workflow. A candidate that calls tools "
        "competes like text; an answer that does not fit the JSON schema is replaced by the "
        "best candidate that does."
    ),
    "W11": (
        "The answer's `usage` counts the conversation and the answer, and the sum over all "
        "calls stands beside it. A `budget` starts no new call when it is spent."
    ),
    "W12": (
        "The engine knows neither HTTP nor dialects: it writes one journal of typed events, "
        "which everything else reads. New kinds of nodes register under a name."
    ),
    "W13": ("A client that leaves cancels its whole request; each upstream connection of it closes within one second."),
    "L1": (
        "Each origin has one pool of connections, shared by all requests, reused, and closed at"
        " shutdown. Cancelled calls never leak a place in it."
    ),
    "L2": (
        "Providers speak OpenAI's API, Ollama's, gRPC to inference workers, and to the demo "
        "models in the process, among others. Chorus sets the upstream's key; a client's own "
        "key never travels on."
    ),
    "L3": (
        "Whatever goes wrong with an upstream is a typed error: refusals, malformed or "
        "unfinished streams, empty bodies, HTML pages. Foreign texts in errors are cut, and "
        "secrets are blotted out."
    ),
    "L4": (
        "Calls are retried with backoff and full jitter until something of the answer is "
        "delivered, within the stage's timeout, honouring `Retry-After`, and at most for a "
        "fifth of recent calls."
    ),
    "L5": "An upstream's reasoning is kept apart from its answer.",
    "D1": (
        "A model with several replicas balances calls by load, in turn, by weight or by "
        "latency. A failed call moves to another replica, and a replica that keeps failing is "
        "quarantined and probed."
    ),
    "D2": (
        "The addresses of a model come from a list, from DNS or from Consul. They are refreshed"
        " in the background, and the last good list is kept."
    ),
    "D3": (
        "Requests of one session go to one instance. When it is gone or quarantined, the "
        "session moves, and its record with it."
    ),
    "D4": (
        "Active health checks and the outcomes of calls feed one state of each replica, which "
        "`GET /api/v1/upstreams` shows."
    ),
    "K1": (
        "Rates are limited for the server, each key, route and model, in memory or in Redis. A "
        "refusal is a 429 with `Retry-After` and the `x-ratelimit-*` headers."
    ),
    "K2": (
        "Requests wait for slots by priority, then by arrival, in bounded queues with a maximum"
        " wait. A client that leaves the queue is removed at once."
    ),
    "K3": (
        "Single embedding requests of one model are merged into one call, and results go back "
        "in order. A bad input fails alone."
    ),
    "K4": ("Every step has its timeout: the queue, connecting, the first token, silence between tokens, the whole."),
    "K5": (
        "Queue lengths, queue waits, active calls and times to the first token are metrics, "
        "with alert rules that `promtool` checks."
    ),
    "A1": (
        "`/api/generate` and `/api/chat` speak Ollama's dialect as NDJSON, or as SSE where the "
        "client asks for it, with all of Ollama's fields."
    ),
    "A2": (
        "`/v1/chat/completions` and `/v1/completions` speak OpenAI's dialect, with tools, "
        "images, response formats, several choices and usage in streams."
    ),
    "A3": (
        "`/v1/responses` speaks OpenAI's Responses API: every form of input, its sequence of "
        "events, stored and background responses, cancellation and function tools."
    ),
    "A4": (
        "Lists of models, embeddings, Ollama's other routes and Anthropic's `/v1/messages` are "
        "there. What cannot be (managing models) is a 501 with a clear sentence."
    ),
    "A5": (
        "Errors have the shape of their dialect, a fitting status, a code and the request's id."
        " A failure in mid-stream is an error event, after which the stream closes."
    ),
    "A6": (
        "A body is read as JSON whatever its `Content-Type` says. Unknown fields go to pass-"
        "through upstreams; a wrong type is a 400 that names the field."
    ),
    "A7": (
        "`/health`, `/ready`, `/metrics` and `/openapi.json` are served, CORS as configured. "
        "Every response has an `X-Request-ID`, and `traceparent` is read and sent."
    ),
    "A8": (
        "SIGTERM stops accepting, waits for streams up to `drain_timeout_secs`, cancels the rest, and exits with 0."
    ),
    "S1": (
        "On loopback the `Host` header must be a local or a configured name. Client keys are "
        "kept as hashes, with limits, allowed models and expiry; administration needs an "
        "administrator's key."
    ),
    "S2": "Secrets are never in logs, errors, traces, `repr`, metrics or the page.",
    "S3": (
        "Prompts and answers are in logs as length and hash only, unless "
        "`CHORUS_LOG_SENSITIVE=1`. Bodies, headers and nesting are bounded, and the page has a "
        "strict content security policy."
    ),
    "M1": (
        "`chorus demo` serves everything with demo models in the process, without key, network "
        "or file, and says that it is a demo. One model can be made to fail or to be slow."
    ),
    "M2": (
        "Records are kept in SQLite, in memory or in Redis, and all stores pass one suite of "
        "tests. Another owner's record is a 404, and without the store requests go on without "
        "memory."
    ),
    "M3": (
        "Sessions are conversations: OpenAI's Conversations API and a session id in every "
        "dialect. The history is loaded, trimmed to the context window, and extended once after"
        " the answer."
    ),
    "M4": (
        "With `X-User-ID`, notes on the user are put into the system prompt, and new ones are "
        "written after the answer, which never waits for them."
    ),
    "M5": ("The same notes are tools of an MCP server, over HTTP and stdio; another MCP server can keep them instead."),
    "M6": (
        "Tokens and cost are counted per key, user, model and day. A key whose budget is spent "
        "gets 429 `budget_exhausted` with the date of its renewal."
    ),
    "M7": ("Files and batches work as OpenAI's library speaks them, at batch priority, and survive a restart."),
    "M8": (
        "Every process of a server, and every server at the same Redis, answers for stored "
        "responses, background runs, conversations and traces. A run whose process died is "
        "reported as failed."
    ),
    "I1": (
        "`chorus worker` serves one model over gRPC, with health and reflection, by mlx-lm, "
        "llama.cpp, an OpenAI-compatible server or an echo. Tokens stream as they are "
        "generated."
    ),
    "I2": (
        "A call that is cancelled or expired stops generating before the next token, and a "
        "worker that stops finishes its calls first."
    ),
    "I3": (
        "A worker has metrics on a port of its own: active requests, generated tokens, durations and tokens a second."
    ),
    "I4": (
        "A worker registers in Consul with a gRPC health check and deregisters when it stops. "
        "Several workers of one name balance and fail over."
    ),
    "I5": (
        "Images, a compose file, Prometheus's configuration, Kubernetes manifests and make "
        "targets deploy it, and are tested."
    ),
    "O1": (
        "The log is structured, with the ids of request, run, session and instance on every "
        "line of a request. `CHORUS_LOG` sets its level, also for parts."
    ),
    "O2": (
        "`/metrics` has requests, upstream calls, retries, breakers, stages, tokens and cost, "
        "right with several processes and without unbounded labels."
    ),
    "O3": (
        "OpenTelemetry gets one span for each stage by the GenAI conventions, and its context "
        "goes on to HTTP and gRPC upstreams."
    ),
    "O4": (
        "The page at `/ui` asks, shows traces, live load and workflows, in Chinese and English,"
        " without third-party scripts, and is tested in Chromium."
    ),
    "O5": ("The page's event feed is public: run, list, follow and cancel runs, and statistics each second."),
    "T1": (
        "`make test` sets itself up and passes. Protocols are tested over real sockets with "
        "real client libraries, parsers by properties, failures by injection."
    ),
    "T2": (
        "`scripts/test_*.sh` are regression scripts against a running server. Each starts the "
        "demo where none runs, and exits with an error where something fails."
    ),
    "T3": ("README and documents have the required sections, and their examples are executed by tests."),
    "T4": "`chorus check` passes on the example configurations, and the old one migrates.",
    "T5": ("The repository holds no secret and has the MIT licence. The distribution is `chorus-llm`."),
}
