"""Base classes of the configurations of methods. The configurations are in `ibml.methods.<name>.config`."""
