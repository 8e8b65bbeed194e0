"""Real client libraries against the real server over sockets."""
