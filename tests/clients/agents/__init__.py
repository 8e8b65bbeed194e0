"""Coding agents as their users install them, each at one task: to write a file through Chorus.

task         the model's behaviour, one run of an agent, and what is checked after it
recording    a reverse proxy that remembers what the agent sent
comparison   what of the agent's request the upstream did not get
"""
