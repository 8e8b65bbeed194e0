"""The kinds of stages, one file each: `analyzer`, `worker`, `workers`, `selector`, `synthesizer`.

`flow` puts them together and `single` is the workflow of one.
"""
