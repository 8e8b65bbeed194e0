"""The server as a process, or as several: listening, signals, reloading, watching the file.

Above: `cli` starts it. Below: `server` is the application that it runs.
"""
