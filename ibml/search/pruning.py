"""Early stopping: whether a proposal goes on, from the values that all proposals of the search have reported.

Steps count the epochs that a proposal has trained, over all its seeds: every epoch of the first seed is a step, and
then the end of each further seed. Values are means over seeds of the metric at the epoch that would be selected. The
rules are functions of these values alone. Optuna's own successive halving keeps its marks in the database
apart from the decision, so a process that is killed between the two decides differently when it goes on.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from ibml.config.search.schedulers import HyperbandConfig
from ibml.config.search.space import SchedulerConfig

Curve = Mapping[int, float]
"""Step -> value, the higher the better, of one proposal."""


def compute_rungs(config: SchedulerConfig, number: int, epochs: int, seeds: int) -> list[int]:
    """The steps at which proposal `number` is judged; the last one, after which nothing is left, is none."""
    ends = [epochs * seed for seed in range(1, seeds)]
    match config.type:
        case "none" | "pbt":
            return []
        case "wilcoxon":
            return ends
        case "median":
            return [*range(config.grace_epochs, epochs), *ends]
        case "asha" | "hyperband":
            first = config.grace_epochs
            if config.type == "hyperband":
                first *= config.reduction_factor ** assign_bracket(config, number, epochs)
            rungs, factor = [], config.reduction_factor
            while first < epochs:
                rungs.append(first)
                first *= factor
            counts = [factor**k for k in range(seeds) if factor**k < seeds]
            return rungs + [epochs * count for count in counts]


def should_continue(
    config: SchedulerConfig,
    step: int,
    curve: Curve,
    others: Sequence[Curve],
    seed_values: Sequence[float] = (),
    best_seed_values: Sequence[float] = (),
) -> bool:
    """Whether a proposal goes on after a step at which it is judged. `others` are the proposals that it is judged
    against; the seed values, one per seed, are its own and those of the best proposal. Successive halving takes those
    that came first for the better ones where values are equal, since a metric of few samples has many equal ones."""
    value = curve[step]
    match config.type:
        case "asha" | "hyperband":
            rivals = [other[step] for other in others if step in other]
            not_worse = sum(rival >= value for rival in rivals)
            return not_worse < max((len(rivals) + 1) // config.reduction_factor, 1)
        case "median":
            best = max(v for s, v in curve.items() if s <= step)
            rivals = [
                max(v for s, v in other.items() if s <= step) for other in others if step in other
            ]
            return len(rivals) < config.startup_trials or best >= statistics.median(rivals)
        case "wilcoxon":
            from scipy.stats import wilcoxon

            pairs = [own - best for own, best in zip(seed_values, best_seed_values, strict=False)]
            if not any(pairs):
                return True
            return (
                not float(wilcoxon(pairs, alternative="less", zero_method="zsplit").pvalue)
                < config.p
            )
        case "none" | "pbt":
            return True


def assign_bracket(config: HyperbandConfig, number: int, epochs: int) -> int:
    """The bracket of a proposal. Of n brackets, the one that starts halving at grace_epochs * factor^s gets proposals
    in proportion to n factor^(n-1-s) / (n - s), as Hyperband gives them (Li et al. 2018, algorithm 1), spread
    evenly over the numbers."""
    brackets = 1
    while config.grace_epochs * config.reduction_factor**brackets < epochs:
        brackets += 1
    weights = [
        brackets * config.reduction_factor ** (brackets - 1 - s) / (brackets - s)
        for s in range(brackets)
    ]
    given = [0] * brackets
    for position in range(number + 1):
        behind = [
            w * (position + 1) / sum(weights) - n for w, n in zip(weights, given, strict=True)
        ]
        chosen = behind.index(max(behind))
        given[chosen] += 1
    return chosen
