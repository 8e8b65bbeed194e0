"""The server as one ASGI application: the table of routes, and what is built around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import Any

import anyio.to_thread
from starlette.types import ASGIApp, Receive, Scope, Send

from chorus.auth.keys import KeyRing
from chorus.config import Config
from chorus.server.api.background import BackgroundRuns
from chorus.server.api.batch_requests import BATCH_ENDPOINTS, BatchRequests
from chorus.server.api.batch_runner import BatchRunner
from chorus.server.api.batches import Batches
from chorus.server.api.conversations import Conversations
from chorus.server.api.embeddings import EMBEDDING_PATHS, EmbeddingEndpoints
from chorus.server.api.explain import Explain, ExplainBody
from chorus.server.api.files import Files
from chorus.server.api.health import Health
from chorus.server.api.learning import LearningApi
from chorus.server.api.live import LiveRunsApi
from chorus.server.api.mcp import MCP_PATH, McpEndpoint
from chorus.server.api.memory import Memory
from chorus.server.api.metrics import MetricsPage
from chorus.server.api.models import Models
from chorus.server.api.ollama import OllamaModels
from chorus.server.api.relay.endpoints import RELAY_PATHS, RelayEndpoints
from chorus.server.api.render import RENDER_PATH, Render, RenderBody
from chorus.server.api.replay import REPLAY_PATH, Replay, ReplayBody
from chorus.server.api.sessions import Sessions
from chorus.server.api.stats import STATS_PATH, StatsFeed
from chorus.server.api.stored_responses import StoredResponses
from chorus.server.api.token_count import COUNT_PATH, TokenCount
from chorus.server.api.traces import Traces
from chorus.server.api.tunings import Tunings
from chorus.server.api.upstreams import Upstreams
from chorus.server.api.usage import USAGE_PATH, UsageReport
from chorus.server.dialects import DIALECTS, Dialect, OpenAIResponses
from chorus.server.dialects.anthropic.messages import MessagesBody
from chorus.server.dialects.native.run import NativeRun
from chorus.server.endpoint import DialectEndpoint, EndpointSettings
from chorus.server.http.hosts import is_loopback
from chorus.server.http.middleware import Edge, EdgeRules
from chorus.server.http.routes import Paths, Route, mounted, posted, router
from chorus.server.http.wire import send_json
from chorus.server.openapi import document
from chorus.server.web.page import Page
from chorus.service import Chorus

_NATIVE = NativeRun()


def limited_routes() -> frozenset[str]:
    """Return the paths that `[limits.routes]` may name: whatever asks a model."""
    generating = [dialect.path for dialect in (*DIALECTS, _NATIVE)]
    return frozenset([*generating, *EMBEDDING_PATHS, *RELAY_PATHS, REPLAY_PATH, MCP_PATH])


def build_app(chorus: Chorus, config: Config, ring: KeyRing | None = None) -> ASGIApp:
    """Return the application that serves `chorus` and closes it when it shuts down. With a `ring`
    every client needs a key on it."""

    async def openapi(scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(send, await anyio.to_thread.run_sync(described))

    @asynccontextmanager
    async def closing() -> AsyncIterator[None]:
        yield
        await chorus.aclose()

    background, mcp, stats = BackgroundRuns(chorus), McpEndpoint(chorus), StatsFeed(chorus)
    routes = [*table(chorus, config, background, stats), mcp.route()]
    of_batches, runner = batch_routes(chorus, config, routes, ring)
    routes += [*of_batches, Route("/openapi.json", openapi, "This document", access="client")]
    # made when it is asked for: a start or a reload would take 30 ms longer
    described = cache(partial(document, (*DIALECTS, _NATIVE), tuple(routes)))
    server = config.server
    if server.ui:
        routes += Page().routes()  # no API: the document does not describe it
    hosts = frozenset(name.lower() for name in server.allowed_hosts)
    rules = EdgeRules(
        # other machines call a server by names that it knows from `allowed_hosts` only
        near=is_loopback(server.host),
        hosts=hosts if hosts or is_loopback(server.host) else None,
        origins=frozenset(server.cors_origins),
        ollama_sse=server.ollama_stream == "sse",
        max_body_bytes=server.max_body_bytes,
    )
    application = router(routes, ring, (closing, chorus.serving, background.open, runner.open, mcp.open, stats.open))
    return Edge(application, rules, chorus.metrics, Paths(routes))


def table(chorus: Chorus, config: Config, background: BackgroundRuns, stats: StatsFeed) -> list[Route]:
    """Return every route; the generating ones first, since they are asked most."""
    heartbeat_secs = config.server.heartbeat_secs
    settings = EndpointSettings(heartbeat_secs, config.server.ollama_stream == "sse")
    count = partial(chorus.metrics.storage_unavailable, "responses")
    stored = StoredResponses(chorus.storage.responses, chorus.writes, background, heartbeat_secs, count)
    health, models, traces, ollama = Health(chorus), Models(chorus), Traces(chorus), OllamaModels(chorus)
    explain, replay, count_tokens = Explain(chorus), Replay(chorus), TokenCount(chorus)
    return [
        *(_generating(dialect, chorus, settings, stored) for dialect in DIALECTS),
        Route("/", ollama.root, "Whether somebody is there", media_type="text/plain", access="open"),
        Route("/health", health.health, "The process lives", access="open"),
        Route("/ready", health.ready, "The server can answer", access="open"),
        Route("/metrics", MetricsPage(chorus), "Metrics for Prometheus", media_type="text/plain"),
        Route("/v1/models", models.models, "Models and workflows", access="client"),
        Route("/v1/models/{name:path}", models.model, "One model or workflow", access="client"),
        *mounted("/v1/responses/{id}", stored.routes()),
        *mounted("/v1/conversations", Conversations(chorus.storage.conversations, chorus.writes).routes()),
        *mounted("/v1/files", Files(chorus.storage.files).routes()),
        *EmbeddingEndpoints(chorus).routes(),
        *RelayEndpoints(chorus).routes(),
        Route(COUNT_PATH, count_tokens, "About how many tokens", ("POST",), MessagesBody, access="client"),
        Memory(chorus).route(),
        _generating(_NATIVE, chorus, settings, stored),
        posted(RENDER_PATH, RenderBody, Render().answer, "Markdown as safe HTML", access="client"),
        Route(STATS_PATH, stats, "The server, second by second", media_type="text/event-stream", access="client"),
        *mounted("/api/v1/runs", LiveRunsApi(chorus, heartbeat_secs).routes()),
        posted("/api/v1/explain", ExplainBody, explain.answer, "What a request would take", access="client"),
        *mounted("/api/v1/sessions", Sessions(chorus.storage.conversations, chorus.writes).routes()),
        Route(USAGE_PATH, UsageReport(chorus), "Calls, tokens and costs", access="client"),
        Route("/api/v1/upstreams", Upstreams(chorus), "Every replica, and how it does"),
        Route("/api/v1/workflows", traces.traces, "The newest traces"),
        Route("/api/v1/workflows/{id}", traces.trace, "The trace of a run"),
        *LearningApi(chorus).routes(),
        *Tunings(config.server.evaluations).routes(),
        posted(REPLAY_PATH, ReplayBody, replay.answer, "The same request, asked again"),
        *mounted("/api", ollama.routes()),
    ]


def batch_routes(
    chorus: Chorus, config: Config, routes: Sequence[Route], ring: KeyRing | None
) -> tuple[Sequence[Route], BatchRunner]:
    """Return the routes of batches, and their runner, which sends lines to handlers of `routes`."""
    handlers = {route.path: route.handler for route in routes if route.path in BATCH_ENDPOINTS}
    server = config.server
    requests = BatchRequests(handlers, ring, server.max_body_bytes)
    runner = BatchRunner(chorus, requests, _batch_slots(config), server.max_body_bytes)
    return [*mounted("/v1/batches", Batches(chorus.storage, runner).routes())], runner


def _batch_slots(config: Config) -> int:
    """Return how many lines of batches are answered at a time.

    They are fewer than configured where those that wait would take more than half of a queue's
    places.
    """
    server = config.server
    queues = [(server.max_concurrency, server.max_waiting)]
    queues += [(model.max_concurrency, model.max_waiting) for model in config.models]
    most = (active + waiting // 2 for active, waiting in queues if active is not None)
    return min([server.batch_concurrency, *most])


def _generating(dialect: Dialect[Any], chorus: Chorus, settings: EndpointSettings, stored: StoredResponses) -> Route:
    keeper = stored if isinstance(dialect, OpenAIResponses) else None
    endpoint = DialectEndpoint(dialect, chorus, settings, keeper)
    return Route(dialect.path, endpoint, dialect.summary, ("POST",), dialect.body, access="client")
