"""Benchmarks that print ratios from one run. See README.md; run as `python -m benchmarks.NAME`."""
