"""HTTP in and out: connections, bodies, headers, errors, streams. Above: `dialects` and `api`.
Below: uvicorn and Starlette."""
