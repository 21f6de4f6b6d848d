"""Parts shared by the preparations of `ibml data prepare`.

A preparation converts the distribution of a data set into the layout that ibml reads. Each is in
`ibml.data.sets.NAME.prepare`, whose docstring describes the distribution.
"""
