"""The inference worker: one model behind gRPC, a process of its own (I1).

Above: `cli/worker.py` starts it. Below: `llm`, whose `Upstream` is what an engine is, and the stubs
of `chorus.worker.v1`. It knows neither `service` nor `workflow`: it is no gateway.
"""
