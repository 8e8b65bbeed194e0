"""HTTP in, HTTP out.

Knows no model and no prompt. Above: `serving` runs `app`. Below: `service.Chorus` answers.
"""
