"""Client libraries that cannot share our virtual environment: other majors, other languages.

Each is a script that prints `PASS name` or `FAIL name: why` a line for each check.
"""
