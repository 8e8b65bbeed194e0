"""Admission: which requests go on, which wait, and which are refused (K1 to K3).

Above: `snapshot` gives each model its gate, `service` has one for the server. Below: `errors` and
`types`. `queue`, `batch` and `meter` decide without waiting; `gate` and `batching` wait.
`shared_gate` shares its slots with other processes, by `redis_leases`.
"""
