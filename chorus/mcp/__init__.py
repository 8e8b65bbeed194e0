"""Chorus as tools of the Model Context Protocol (M5).

Above: `server` at `/mcp`, and the command `chorus mcp`. Below: `service`. `sdk.py` alone knows the
protocol; a tool is a function from typed arguments to a typed result.
"""
