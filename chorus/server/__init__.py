"""HTTP in, HTTP out; knows no model and no prompt. Above: `serving` runs `app`. Below: `service.Chorus` answers."""
