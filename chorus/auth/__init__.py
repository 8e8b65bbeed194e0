"""Who is asking, and what they may reach.

Above: `admission` charges a `Principal`, `server` asks who may use a route.
"""
