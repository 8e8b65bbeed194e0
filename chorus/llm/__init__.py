"""How a model is reached. Above: `workflow` calls `Upstream.open`. Below: pooled HTTP clients."""
