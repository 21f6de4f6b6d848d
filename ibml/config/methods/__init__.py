"""Base classes of method configurations; the configurations are in `ibml.methods.<name>.config`."""
