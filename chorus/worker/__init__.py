"""The wire of an inference worker: stubs that `scripts/stubs.py` generates from `proto/`."""
