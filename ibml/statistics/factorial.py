"""Factorial designs: effects of levels with intervals over seeds, and each factor's share of the variance.

A seed is a block: effects are made per seed, within it, and then tested over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import fdtrc

from ibml.statistics.paired import Difference, paired_difference, with_verdicts

Cell = tuple[str, ...]
"""One level of each factor, in the order of the factors."""
Values = Mapping[Cell, Mapping[int, float]]
"""Cell -> seed -> value. The cells are those of the design, all of a full factorial or part of them."""
Factors = Mapping[str, Sequence[str]]
"""Name -> levels, the reference level first."""
Term = tuple[str, ...] | Literal["higher order", "seed", "residual"]

EffectName = tuple[tuple[str, ...], tuple[str, ...]]
Floats = npt.NDArray[np.float64]

_ROUNDING = 1e-12


@dataclass(frozen=True)
class Effect:
    """What levels of factors do, over the seeds that have every cell; `difference.missing` counts the others."""

    factors: tuple[str, ...]
    levels: tuple[str, ...]
    difference: Difference


@dataclass(frozen=True)
class VarianceShare:
    """A term's share of the total sum of squares, its F against the residual, and p; None is what cannot be said."""

    term: Term
    share: float | None
    f: float | None
    p: float | None


def main_effects(factors: Factors, values: Values, alpha: float = 0.05) -> list[Effect]:
    """Each level against its factor's first, averaged over the cells that have it, Holm over all of them."""
    seeds, missing = _complete_seeds(values)
    found: dict[EffectName, Difference] = {}
    for place, (name, levels) in enumerate(factors.items()):
        first = _marginal(values, {place: levels[0]}, seeds)
        for level in levels[1:]:
            difference = paired_difference(
                _marginal(values, {place: level}, seeds), first, "t", alpha
            )
            found[(name,), (level,)] = replace(difference, missing=missing)
    return _corrected(found, alpha)


def interactions(factors: Factors, values: Values, alpha: float = 0.05) -> list[Effect]:
    """m[a, b] - m[a0, b] - m[a, b0] + m[a0, b0] of two factors' marginal means, Holm over all of them.

    Combinations of which a fractional design lacks one of the four are left out.
    """
    seeds, missing = _complete_seeds(values)
    found: dict[EffectName, Difference] = {}
    for (i, (first, a_levels)), (j, (second, b_levels)) in combinations(
        enumerate(factors.items()), 2
    ):
        present = {(cell[i], cell[j]) for cell in values}
        a0, b0 = a_levels[0], b_levels[0]
        for a, b in product(a_levels[1:], b_levels[1:]):
            if not {(a, b), (a0, b), (a, b0), (a0, b0)} <= present:
                continue
            both, none, one, other = (
                _marginal(values, {i: x, j: y}, seeds)
                for x, y in ((a, b), (a0, b0), (a0, b), (a, b0))
            )
            plus = {seed: both[seed] + none[seed] for seed in seeds}
            minus = {seed: one[seed] + other[seed] for seed in seeds}
            found[(first, second), (a, b)] = replace(
                paired_difference(plus, minus, "t", alpha), missing=missing
            )
    return _corrected(found, alpha)


def variance_shares(factors: Factors, values: Values) -> list[VarianceShare]:
    """Analysis of variance with the seed as block; the shares sum to 1.

    Main effects, two-way terms where the design is a full factorial, what else differs between cells ("higher order",
    if that can be), seed, and residual (cell times seed), by nested least-squares models in this order. In a design
    that is not balanced a term's share is thus what it adds to those before it.
    """
    seeds, _ = _complete_seeds(values)
    cells = list(values)
    terms = _terms(factors, cells)
    y = np.array([values[cell][seed] for cell in cells for seed in seeds], dtype=float)
    if len(y) == 0 or np.ptp(y) <= _ROUNDING * np.abs(y).max():
        return [
            VarianceShare(term, None, None, None)
            for term in [*(term for term, _ in terms), "seed", "residual"]
        ]
    by_cell: list[tuple[Term, Floats]] = [
        (term, np.repeat(columns, len(seeds), axis=0)) for term, columns in terms
    ]
    return _nested_models(y, [*by_cell, ("seed", np.tile(np.eye(len(seeds)), (len(cells), 1)))])


def _nested_models(y: Floats, blocks: Sequence[tuple[Term, Floats]]) -> list[VarianceShare]:
    """Each block of columns by what it takes off the residual sum of squares of the model without it.

    By orthogonal projection, since blocks repeat what others say: statsmodels' `anova_lm` needs columns that do not,
    and a formula, which names of factors cannot be put into.
    """
    columns = [np.ones((len(y), 1)), *(block for _, block in blocks)]
    models = [
        _residual(y - y.mean(), np.hstack(columns[:count])) for count in range(1, len(columns) + 1)
    ]
    squares, freedom = (np.array(numbers) for numbers in zip(*models, strict=True))
    nothing = len(y) * (_ROUNDING * np.abs(y).max()) ** 2
    squares[squares <= nothing] = 0.0
    shares = []
    for (term, _), ss, df in zip(blocks, -np.diff(squares), -np.diff(freedom), strict=True):
        f = p = None
        if df > 0 and freedom[-1] > 0 and squares[-1] > 0:
            f = max(0.0, float(ss / df / (squares[-1] / freedom[-1])))
            p = float(fdtrc(df, freedom[-1], f))
        shares.append(VarianceShare(term, max(0.0, float(ss / squares[0])), f, p))
    return [*shares, VarianceShare("residual", float(squares[-1] / squares[0]), None, None)]


def _residual(y: Floats, columns: Floats) -> tuple[float, int]:
    """Residual sum of squares of the least-squares model with these columns, and its degrees of freedom."""
    solution, _, rank, _ = np.linalg.lstsq(columns, y)
    return float(((y - columns @ solution) ** 2).sum()), len(y) - int(rank)


def _terms(factors: Factors, cells: Sequence[Cell]) -> list[tuple[Term, Floats]]:
    """Indicator columns of each term between cells, a row per cell. Levels are only compared, never parsed."""
    columns = {
        name: np.array(
            [[cell[place] == level for level in levels] for cell in cells], float
        ).reshape(-1, len(levels))
        for place, (name, levels) in enumerate(factors.items())
    }
    terms: list[tuple[Term, Floats]] = [((name,), columns[name]) for name in factors]
    full = len(cells) == math.prod(len(levels) for levels in factors.values())
    if full:
        for a, b in combinations(factors, 2):
            pairs = columns[a][:, :, None] * columns[b][:, None, :]
            terms.append(((a, b), pairs.reshape(len(cells), -1)))
    between = np.hstack([np.ones((len(cells), 1)), *(block for _, block in terms)])
    if cells and np.linalg.matrix_rank(between) < len(cells):
        terms.append(("higher order", np.eye(len(cells))))
    return terms


def _complete_seeds(values: Values) -> tuple[list[int], int]:
    """The seeds that every cell has, and how many others there are."""
    by_cell = [set(by_seed) for by_seed in values.values()]
    common = set.intersection(*by_cell) if by_cell else set()
    return sorted(common), len(set().union(*by_cell) - common)


def _marginal(values: Values, where: Mapping[int, str], seeds: Sequence[int]) -> dict[int, float]:
    """Per seed the mean of the cells that have these levels, place of the factor -> level; empty if none has."""
    cells = [
        by_seed
        for cell, by_seed in values.items()
        if all(cell[place] == level for place, level in where.items())
    ]
    return (
        {seed: sum(by_seed[seed] for by_seed in cells) / len(cells) for seed in seeds}
        if cells
        else {}
    )


def _corrected(found: Mapping[EffectName, Difference], alpha: float) -> list[Effect]:
    return [
        Effect(*name, difference) for name, difference in with_verdicts(found, None, alpha).items()
    ]
