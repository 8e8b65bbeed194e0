"""Reading what upstreams write, whatever the wire: JSON that is not as it should be, cut
characters, endings, errors.

Above: `providers`, and `transport` for the texts of errors. Below: `base`. Everything here is pure.
"""
