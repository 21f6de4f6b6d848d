"""Factorial designs: effects of levels with intervals over seeds, and analysis of variance.

A seed is a block: each effect is computed within every seed and then tested over the seeds.
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

from ibml.statistics.paired import (
    Difference,
    find_complete_keys,
    paired_difference,
    with_verdicts,
)

Cell = tuple[str, ...]
"""One level of each factor, in the order of the factors."""
Values = Mapping[Cell, Mapping[int, float]]
"""Cell -> seed -> value, for all cells of a full factorial design or some of them."""
Factors = Mapping[str, Sequence[str]]
"""Factor -> levels, the reference level first."""
Term = tuple[str, ...] | Literal["higher order", "seed", "residual"]
"""Term of the analysis of variance: the factors of an effect, or one of the other terms."""

EffectName = tuple[tuple[str, ...], tuple[str, ...]]
"""Factors and levels of an effect."""
Floats = npt.NDArray[np.float64]

_ROUNDING = 1e-12
"""Size, relative to the largest value, below which differences are rounding errors."""


@dataclass(frozen=True)
class Effect:
    """Main effect of a level, or interaction of two levels, over the seeds that have all cells.

    Attributes:
        factors: The factor, or the two factors.
        levels: Level of each of these factors.
        difference: Effect relative to the reference levels. `difference.missing` counts the seeds
            for which a cell has no value.
    """

    factors: tuple[str, ...]
    levels: tuple[str, ...]
    difference: Difference


@dataclass(frozen=True)
class VarianceShare:
    """Row of the analysis of variance.

    Attributes:
        term: Term of the model.
        share: Share of the total sum of squares; None if all values are equal.
        f: F statistic against the residual; None if it is not defined.
        p: p-value of the F test; None without F statistic.
    """

    term: Term
    share: float | None
    f: float | None
    p: float | None


def main_effects(factors: Factors, values: Values, alpha: float = 0.05) -> list[Effect]:
    """Compare each level with the first level of its factor, averaged over the other factors.

    Args:
        factors: Factor -> levels, the reference level first.
        values: Cell -> seed -> value. The mean of a level is taken over the cells with this level.
        alpha: Significance level; intervals have the level 1 - alpha.

    Returns:
        One effect per level that is not a reference level. The p-values are Holm-corrected over
        all effects.
    """
    seeds, missing = find_complete_keys(values.values())
    found: dict[EffectName, Difference] = {}
    for position, (name, levels) in enumerate(factors.items()):
        reference = _compute_marginal(values, {position: levels[0]}, seeds)
        for level in levels[1:]:
            marginal = _compute_marginal(values, {position: level}, seeds)
            difference = paired_difference(marginal, reference, "t", alpha)
            found[(name,), (level,)] = replace(difference, missing=missing)
    return _build_effects(found, alpha)


def interactions(factors: Factors, values: Values, alpha: float = 0.05) -> list[Effect]:
    """Compute the interactions m[a, b] - m[a0, b] - m[a, b0] + m[a0, b0] of all pairs of factors.

    m are the marginal means of two factors, a and b their levels, and a0 and b0 the reference
    levels.

    Args:
        factors: Factor -> levels, the reference level first.
        values: Cell -> seed -> value.
        alpha: Significance level; intervals have the level 1 - alpha.

    Returns:
        One effect per pair of factors and pair of levels. The p-values are Holm-corrected over
        all interactions. Pairs of levels are omitted if a fractional design lacks one of the four
        combinations.
    """
    seeds, missing = find_complete_keys(values.values())
    found: dict[EffectName, Difference] = {}
    for (i, (first, a_levels)), (j, (second, b_levels)) in combinations(
        enumerate(factors.items()), 2
    ):
        present = {(cell[i], cell[j]) for cell in values}
        a0, b0 = a_levels[0], b_levels[0]
        for a, b in product(a_levels[1:], b_levels[1:]):
            if not {(a, b), (a0, b), (a, b0), (a0, b0)} <= present:
                continue
            m_ab = _compute_marginal(values, {i: a, j: b}, seeds)
            m_a0b0 = _compute_marginal(values, {i: a0, j: b0}, seeds)
            m_a0b = _compute_marginal(values, {i: a0, j: b}, seeds)
            m_ab0 = _compute_marginal(values, {i: a, j: b0}, seeds)
            plus, minus = {}, {}
            for seed in seeds:
                plus[seed] = m_ab[seed] + m_a0b0[seed]
                minus[seed] = m_a0b[seed] + m_ab0[seed]
            difference = paired_difference(plus, minus, "t", alpha)
            found[(first, second), (a, b)] = replace(difference, missing=missing)
    return _build_effects(found, alpha)


def variance_shares(factors: Factors, values: Values) -> list[VarianceShare]:
    """Compute an analysis of variance with the seed as block; the shares sum to 1.

    Nested least-squares models add the terms in this order: main effects, two-way interactions (if
    the design is a full factorial), "higher order" (remaining differences between cells, if there
    can be any), "seed" and "residual" (cell times seed). In an unbalanced design the share of a
    term is therefore its contribution in addition to the terms before it.

    Args:
        factors: Factor -> levels.
        values: Cell -> seed -> value. Seeds for which a cell has no value are excluded.

    Returns:
        One row per term. Without values, or if all values are equal, share, F and p have
        the value None.
    """
    seeds, _ = find_complete_keys(values.values())
    cells = list(values)
    terms = _build_terms(factors, cells)
    y = np.array([values[cell][seed] for cell, seed in product(cells, seeds)], dtype=float)
    if len(y) == 0 or np.ptp(y) <= _ROUNDING * np.abs(y).max():
        undefined = [VarianceShare(term, None, None, None) for term, _ in terms]
        undefined.append(VarianceShare("seed", None, None, None))
        undefined.append(VarianceShare("residual", None, None, None))
        return undefined
    blocks: list[tuple[Term, Floats]] = []
    for term, columns in terms:
        blocks.append((term, np.repeat(columns, len(seeds), axis=0)))
    blocks.append(("seed", np.tile(np.eye(len(seeds)), (len(cells), 1))))
    return _fit_nested_models(y, blocks)


def _fit_nested_models(y: Floats, blocks: Sequence[tuple[Term, Floats]]) -> list[VarianceShare]:
    """Return, per block of columns, the reduction of the residual sum of squares by adding it.

    The models are fitted by orthogonal projection, since the columns of the blocks are linearly
    dependent. statsmodels' `anova_lm` needs independent columns and a formula, in which factors
    cannot have arbitrary names.

    Args:
        y: Values, shape (n,).
        blocks: Term and columns, shape (n, any), in the order in which they are added.

    Returns:
        One row per block, and the residual.
    """
    columns = [np.ones((len(y), 1)), *(block for _, block in blocks)]
    sums_of_squares, degrees_of_freedom = [], []
    for count in range(1, len(columns) + 1):
        ss, df = _fit_least_squares(y - y.mean(), np.hstack(columns[:count]))
        sums_of_squares.append(ss)
        degrees_of_freedom.append(df)
    squares, freedom = np.array(sums_of_squares), np.array(degrees_of_freedom)
    rounding = len(y) * (_ROUNDING * np.abs(y).max()) ** 2
    squares[squares <= rounding] = 0.0
    shares = []
    for (term, _), ss, df in zip(blocks, -np.diff(squares), -np.diff(freedom), strict=True):
        f = p = None
        if df > 0 and freedom[-1] > 0 and squares[-1] > 0:
            f = max(0.0, float(ss / df / (squares[-1] / freedom[-1])))
            p = float(fdtrc(df, freedom[-1], f))
        shares.append(VarianceShare(term, max(0.0, float(ss / squares[0])), f, p))
    return [*shares, VarianceShare("residual", float(squares[-1] / squares[0]), None, None)]


def _fit_least_squares(y: Floats, columns: Floats) -> tuple[float, int]:
    """Return the residual sum of squares and the residual degrees of freedom of a linear model."""
    solution, _, rank, _ = np.linalg.lstsq(columns, y)
    return float(((y - columns @ solution) ** 2).sum()), len(y) - int(rank)


def _build_terms(factors: Factors, cells: Sequence[Cell]) -> list[tuple[Term, Floats]]:
    """Return the terms that differ between cells, each with its indicator columns.

    The columns have one row per cell. Levels are only compared, never parsed.
    """
    columns = {}
    terms: list[tuple[Term, Floats]] = []
    for position, (name, levels) in enumerate(factors.items()):
        columns[name] = _build_indicators(cells, position, levels)
        terms.append(((name,), columns[name]))
    if len(cells) == math.prod(map(len, factors.values())):
        for a, b in combinations(factors, 2):
            pairs = columns[a][:, :, None] * columns[b][:, None, :]
            terms.append(((a, b), pairs.reshape(len(cells), -1)))
    between = np.hstack([np.ones((len(cells), 1)), *(block for _, block in terms)])
    if cells and np.linalg.matrix_rank(between) < len(cells):
        terms.append(("higher order", np.eye(len(cells))))
    return terms


def _build_indicators(cells: Sequence[Cell], position: int, levels: Sequence[str]) -> Floats:
    """Return 1 where a cell has a level of the factor at `position`, shape (cells, levels)."""
    rows = []
    for cell in cells:
        rows.append([cell[position] == level for level in levels])
    return np.array(rows, float).reshape(-1, len(levels))


def _compute_marginal(
    values: Values, where: Mapping[int, str], seeds: Sequence[int]
) -> dict[int, float]:
    """Return, per seed, the mean over the cells that have the given levels.

    Args:
        values: Cell -> seed -> value.
        where: Position of a factor -> level that the cells must have.
        seeds: Seeds that all cells have.

    Returns:
        Seed -> mean; empty if no cell has these levels.
    """
    selected = []
    for cell, by_seed in values.items():
        if all(cell[position] == level for position, level in where.items()):
            selected.append(by_seed)
    if not selected:
        return {}
    means = {}
    for seed in seeds:
        means[seed] = sum(by_seed[seed] for by_seed in selected) / len(selected)
    return means


def _build_effects(found: Mapping[EffectName, Difference], alpha: float) -> list[Effect]:
    """Return the effects with Holm-corrected p-values and verdicts."""
    corrected = with_verdicts(found, None, alpha)
    return [Effect(*name, difference) for name, difference in corrected.items()]
