"""Table formats. `registry.FORMATS` lists them; each one subclasses `base.TableFormat`."""
