"""The replicas of one model as one upstream: which one is asked, which is left alone, what is tried
again.

Above: `registry` makes a pool, `service` watches its replicas. Below: `Upstream`, which each
replica is reached by. `balance`, `breaker` and `retry` decide and do nothing else: `now` comes from
the caller.
"""
