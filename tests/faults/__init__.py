"""Chorus as a process between real sockets, while upstreams misbehave and clients leave."""
