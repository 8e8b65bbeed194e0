"""Chorus's own protocol: every event of a run, those of its workers too, as server-sent events
(O4)."""
