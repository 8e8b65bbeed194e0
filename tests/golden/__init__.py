"""One run, as events, and the exact bytes that each dialect makes of it.

`CHORUS_WRITE_GOLDEN=1` writes them anew.
"""
