"""Every dialect in front of every provider, through the real application on sockets.

`clients` holds what the clients of each dialect send and how they read an answer (in `terms`); a
provider is a file in `tests/kit/providers`, and a line of `rows.PROVIDERS`; `test_matrix` holds
what is asked.
"""
