"""HTTP as strict and as hostile clients send it, against the real server on a socket."""
