"""Whether anything leaks.

`measure.py` runs `clients.py` against a server (`place.py`) whose upstreams are at fault now and
then (`upstream.py`); `endings.py` judges each answer, `after.py` what remains.
"""
