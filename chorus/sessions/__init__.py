"""Conversations and the memory of users, around a run.

Above: `service`. Below: `snapshot`, `storage`.
"""
