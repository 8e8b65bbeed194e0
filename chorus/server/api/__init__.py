"""Routes beside the answers in dialects: lists, health, traces, embeddings; a file a subject."""
