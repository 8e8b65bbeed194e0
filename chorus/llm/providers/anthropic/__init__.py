"""The provider for Anthropic's Messages API (L2).

`upstream` sends requests; `request` writes them from `messages`, `blocks`, `tools`, `thinking` and
`caching`; `stream` reads the answers. `families` holds what the models of each generation take.
"""
