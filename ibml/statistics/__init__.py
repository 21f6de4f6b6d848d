"""Statistics of ablations: paired tests, Shapley values, factorial designs, sequential stopping.

- `paired`: paired differences per seed, t and signed-rank tests, Holm correction, verdicts.
- `power`: number of seeds needed to detect a difference; interval of a standard deviation.
- `sequential`: group-sequential tests that stop an arm once it differs from the reference.
- `factorial`: main effects, interactions and variance shares of factorial designs.
- `shapley`: contributions of the components of a two-level design.
- `coalitions`: weights of exact Shapley values for any game with few players.
- `datasets`: comparisons of arms over several data sets.
"""
