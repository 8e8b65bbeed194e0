"""The store in a Redis."""

from __future__ import annotations

from chorus.storage.base import Storage
from chorus.storage.records import Retention
from chorus.storage.redis import RedisServer
from chorus.storage.redis_batches import RedisBatches
from chorus.storage.redis_conversations import RedisConversations
from chorus.storage.redis_files import RedisFiles
from chorus.storage.redis_outcomes import RedisOutcomes
from chorus.storage.redis_records import RedisAffinities, RedisProfiles, RedisResponses, RedisRuns, RedisTraces
from chorus.storage.redis_usage import RedisUsage


def redis_storage(url: str, retention: Retention) -> Storage:
    """Return a store in the Redis at `url`.

    Raises ConfigError where that is no address, or redis-py is missing.
    """
    redis = RedisServer(url)
    return Storage(
        redis,
        conversations=RedisConversations(redis, retention.conversations),
        responses=RedisResponses(redis, retention.responses),
        runs=RedisRuns(redis, retention.runs, retention.lease_secs),
        traces=RedisTraces(redis, retention.traces),
        profiles=RedisProfiles(redis, retention.profiles),
        usage=RedisUsage(redis, retention.usage),
        files=RedisFiles(redis, retention.batches),
        batches=RedisBatches(redis, retention.batches),
        affinities=RedisAffinities(redis, retention.affinities),
        outcomes=RedisOutcomes(redis, retention.outcomes, retention.tallies),
    )
