"""HTTP in, HTTP out; knows no model and no prompt. Above: `cli` serves `app`. Below: `service.Chorus` answers."""
