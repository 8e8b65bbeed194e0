"""Whatever is not an answer of a model in a dialect: lists, health, traces, embeddings, kept
responses; a file for each subject."""
