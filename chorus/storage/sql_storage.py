"""The kinds of record over one SQL database."""

from __future__ import annotations

from typing import Protocol

from chorus.storage.base import Backend, Storage
from chorus.storage.batches_table import SqlBatches
from chorus.storage.conversations import SqlConversations
from chorus.storage.database import Database
from chorus.storage.files_table import SqlFiles
from chorus.storage.history_cache import HistoryCache
from chorus.storage.outcomes_table import SqlOutcomes
from chorus.storage.records import Retention
from chorus.storage.tables import SqlAffinities, SqlProfiles, SqlResponses, SqlRuns
from chorus.storage.traces_table import SqlTraces
from chorus.storage.usage_table import SqlUsage


class SqlBackend(Database, Backend, Protocol):
    """A database that is opened and closed."""


def sql_storage(database: SqlBackend, retention: Retention, histories: HistoryCache | None = None) -> Storage:
    """Return a store that keeps its records in `database`, and histories that it knows in
    `histories`.
    """
    return Storage(
        database,
        conversations=SqlConversations(database, retention.conversations, histories),
        responses=SqlResponses(database, retention.responses),
        runs=SqlRuns(database, retention.runs, retention.lease_secs),
        traces=SqlTraces(database, retention.traces),
        profiles=SqlProfiles(database, retention.profiles),
        usage=SqlUsage(database, retention.usage),
        files=SqlFiles(database, retention.batches),
        batches=SqlBatches(database, retention.batches),
        affinities=SqlAffinities(database, retention.affinities),
        outcomes=SqlOutcomes(database, retention.outcomes, retention.tallies),
    )
