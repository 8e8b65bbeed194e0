"""What can be seen of a run: the trace that a client gets, and the log. Both read the journal; neither is called by the
engine. Metrics and spans will be observers beside them."""
