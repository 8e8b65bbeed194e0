"""Where the instances of a service are: sources that say so, and the registration of one (D2, I4).

It knows no model, no pool and no configuration: the gateway follows what a source says
(`chorus/following.py`), and an inference worker registers itself.
"""
