"""The tools of MCP: over HTTP, over stdio, and the memory of another server."""
