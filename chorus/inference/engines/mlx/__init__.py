"""`mlx-lm`: a folder of safetensors in MLX, by the package `mlx-lm` (extra `mlx`).

upstream    a call in, an answer out, on the event loop
prompt      a request as tokens, and what of it cannot be had
answer      tokens as text, thinking and tool calls
batch       the thread that owns the model: all answers that go on are one batch
draws       how the next token is drawn, on that thread
"""
