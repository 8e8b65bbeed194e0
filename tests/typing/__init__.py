"""Code of plug-in authors that must type-check: `mypy` reads it (`make check`), nothing runs it."""
