"""The server as one ASGI application: the table of routes, and what is built around it at start."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp, Receive, Scope, Send

from chorus.auth.keys import KeyRing
from chorus.config import Config
from chorus.server.api.background import BackgroundRuns
from chorus.server.api.embeddings import EMBEDDING_PATHS, EmbeddingEndpoints
from chorus.server.api.explain import Explain
from chorus.server.api.health import Health
from chorus.server.api.metrics import MetricsPage
from chorus.server.api.models import Models
from chorus.server.api.ollama import OllamaModels
from chorus.server.api.replay import REPLAY_PATH, Replay
from chorus.server.api.stored_responses import StoredResponses
from chorus.server.api.token_count import TokenCount
from chorus.server.api.traces import Traces
from chorus.server.api.upstreams import Upstreams
from chorus.server.dialects import DIALECTS, Dialect, OpenAIResponses
from chorus.server.endpoint import DialectEndpoint, EndpointSettings
from chorus.server.http.hosts import is_loopback
from chorus.server.http.middleware import Edge, EdgeRules
from chorus.server.http.routes import Paths, Route, router
from chorus.server.http.wire import send_json
from chorus.server.openapi import document
from chorus.service import Chorus

_MANAGEMENT = ("/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete", "/api/blobs/{digest}")


def limited_routes() -> frozenset[str]:
    """The paths that `[limits.routes]` may name: whatever asks a model."""
    return frozenset([*(dialect.path for dialect in DIALECTS), *EMBEDDING_PATHS, REPLAY_PATH])


def build_app(chorus: Chorus, config: Config, ring: KeyRing | None = None) -> ASGIApp:
    """The application that serves `chorus`; it closes it when it shuts down. With a `ring` every client needs a key on it."""

    async def openapi(scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(send, described)

    background = BackgroundRuns(chorus)
    routes = [*table(chorus, config, background), Route("/openapi.json", openapi, "This document", access="client")]
    described = document(DIALECTS, routes)

    @asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        async with chorus.serving(), background.open():
            yield
        await chorus.aclose()

    server = config.server
    hosts = frozenset(name.lower() for name in server.allowed_hosts)
    rules = EdgeRules(
        # other machines call a server by names that it does not know, unless it is told
        near=is_loopback(server.host),
        hosts=hosts if hosts or is_loopback(server.host) else None,
        origins=frozenset(server.cors_origins),
        ollama_sse=server.ollama_stream == "sse",
    )
    return Edge(router(routes, ring, lifespan), rules, chorus.metrics, Paths(routes))


def table(chorus: Chorus, config: Config, background: BackgroundRuns) -> list[Route]:
    """Every route; the generating ones first, since they are asked most."""
    server = config.server
    settings = EndpointSettings(server.max_body_bytes, server.heartbeat_secs, server.ollama_stream == "sse")
    stored = StoredResponses(chorus.storage.responses, chorus.writes, background, server.heartbeat_secs)
    embeddings = EmbeddingEndpoints(chorus, server.max_body_bytes)
    health, models, traces = Health(chorus), Models(chorus), Traces(chorus)
    ollama = OllamaModels(chorus, server.max_body_bytes)
    count_tokens = TokenCount(chorus, server.max_body_bytes)
    replay = Replay(chorus, server.max_body_bytes)
    explain = Explain(chorus, server.max_body_bytes)
    return [
        *(
            Route(
                dialect.path, _endpoint(dialect, chorus, settings, stored), dialect.summary, ("POST",), access="client"
            )
            for dialect in DIALECTS
        ),
        Route("/", ollama.root, "Whether somebody is there", media_type="text/plain", access="open"),
        Route("/health", health.health, "The process lives", access="open"),
        Route("/ready", health.ready, "The server can answer", access="open"),
        Route("/metrics", MetricsPage(chorus), "Metrics for Prometheus", media_type="text/plain"),
        Route("/v1/models", models.models, "Models and workflows", access="client"),
        Route("/v1/models/{name:path}", models.model, "One model or workflow", access="client"),
        *(
            Route(path, handler, summary, methods, access="client")
            for path, handler, summary, methods in stored.routes()
        ),
        *(
            Route(path, handler, summary, ("POST",), takes_body=True, access="client")
            for path, handler, summary in embeddings.routes()
        ),
        Route(
            "/v1/messages/count_tokens",
            count_tokens,
            "About how many tokens",
            ("POST",),
            takes_body=True,
            access="client",
        ),
        Route(
            "/api/v1/explain", explain.answer, "What a request would take", ("POST",), takes_body=True, access="client"
        ),
        Route("/api/v1/upstreams", Upstreams(chorus), "Every replica, and how it does"),
        Route("/api/v1/workflows", traces.traces, "The newest traces"),
        Route("/api/v1/workflows/{id}", traces.trace, "The trace of a run"),
        Route(REPLAY_PATH, replay, "The same request, asked again", ("POST",), takes_body=True),
        Route("/api/version", ollama.version, "Ollama's version", access="open"),
        Route("/api/tags", ollama.tags, "Models and workflows, as Ollama lists them", access="client"),
        Route("/api/ps", ollama.ps, "Loaded models, as Ollama lists them", access="client"),
        Route(
            "/api/show", ollama.show, "One model, as Ollama describes it", ("POST",), takes_body=True, access="client"
        ),
        *(
            Route(
                path,
                ollama.unmanaged,
                "Not supported: Chorus keeps no model files",
                ("POST", "DELETE"),
                access="client",
            )
            for path in _MANAGEMENT
        ),
    ]


def _endpoint(dialect: Dialect, chorus: Chorus, settings: EndpointSettings, stored: StoredResponses) -> DialectEndpoint:
    keeper = stored if isinstance(dialect, OpenAIResponses) else None
    return DialectEndpoint(dialect, chorus, settings, keeper)
