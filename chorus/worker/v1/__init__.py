"""Version 1 of the wire.

Generated: change `proto/chorus/worker/v1/inference.proto` and run `scripts/stubs.py`.
"""
