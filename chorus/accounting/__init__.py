"""What clients use, and what it costs: counted per key, user, model and day (M6).

Above: `service` counts runs and embeddings here. Below: `storage.usage` keeps the sums.
"""
