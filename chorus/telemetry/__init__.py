"""Views of a run: the trace that a client gets, the log, and the metrics. All read the journal;
none is called by the engine. Spans will be an observer beside them."""
