"""The plan and how it is run: analyzer, workers, selector, synthesizer (W).

Above: `service.py` calls `running()`. Below: `llm` answers. Knows nothing of HTTP, dialects or
configuration files: it takes a `ChatRequest` and writes one journal.
"""
