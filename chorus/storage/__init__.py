"""What outlives a request: conversations, responses, background runs, traces, profiles, usage (M2).

Above: `service` opens one `Storage`, and `server` reads and writes its records. Below: nothing of
Chorus. `base` has the protocols, `opening` makes a store by its address: in memory and in an SQLite
file by the same SQL, in Redis by Lua.
"""
