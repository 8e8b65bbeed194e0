"""The wires that providers speak: how a request is written, how an answer is read, what a refusal
teaches.

Above: a replica of `pool` holds one provider. Below: `transport` sends bytes, `reading` makes sense
of them.
"""
