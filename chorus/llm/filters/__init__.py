"""What stands around an upstream and is one itself: a limit of calls at a time, stop words, batches
of embeddings.

Above: `registry` puts them around a pool. Below: `base`, `embed` and `rerank`; they know neither
pools nor providers.
"""
