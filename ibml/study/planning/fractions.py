"""Regular fractions of two-level designs: fewer cells, with aliased effects.

Box & Hunter (1961), "The 2^(k-p) fractional factorial designs". An effect is a set of factors,
written as a bit mask. In a fraction some factors are products of others, so that certain products
of factors (the words) are constant. Two effects whose product is a word are aliased: they are one
and the same contrast. The resolution is the length of the shortest word.

`pydoe` (1.6) cannot replace this without changing the cells of recorded studies: `fracfact_by_res`
and `fracfact_opt` choose other generators, and their cells lack the reference (all zeros) if a
generator has an even number of factors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product


def find_fraction(factors: int, resolution: int) -> tuple[list[tuple[int, ...]], list[int]] | None:
    """Find a smallest fraction of a two-level design.

    Args:
        factors: Number of factors.
        resolution: Minimum length of a word.

    Returns:
        The level (0 or 1) of each factor in every cell, the cell of all zeros first; and all
        words. None if no fraction is smaller than the whole design.
    """
    for base in range(2, factors):
        words = _find_words(factors, base, resolution)
        if words is None:
            continue
        base_mask = (1 << base) - 1
        cells = []
        for levels in product((0, 1), repeat=base):
            set_bits = sum(level << position for position, level in enumerate(levels))
            made = [(set_bits & word & base_mask).bit_count() % 2 for word in words]
            cells.append((*levels, *made))
        return cells, _multiply_words(words)
    return None


def _find_words(factors: int, base: int, resolution: int) -> list[int] | None:
    """Find a word for each factor after the first `base` factors.

    No product of the words is shorter than the resolution.
    """
    masks = [mask for mask in range(1, 1 << base) if mask.bit_count() >= resolution - 1]
    parents = sorted(masks, key=lambda mask: (-mask.bit_count(), mask))

    def extend(chosen: list[int], products: list[int], start: int) -> list[int] | None:
        if len(chosen) == factors - base:
            return chosen
        for position in range(start, len(parents)):
            word = parents[position] | 1 << (base + len(chosen))
            new = [word, *(word ^ other for other in products)]
            if all(other.bit_count() >= resolution for other in new):
                found = extend([*chosen, word], [*products, *new], position + 1)
                if found is not None:
                    return found
        return None

    return extend([], [], 0)


def _multiply_words(words: Sequence[int]) -> list[int]:
    """Return all products of one or more words."""
    products: list[int] = []
    for word in words:
        products += [word, *(word ^ other for other in products)]
    return products


def describe_aliases(names: Sequence[str], words: Sequence[int]) -> list[str]:
    """Return the aliased main effects and two-factor interactions.

    Args:
        names: Names of the factors.
        words: All words of the fraction.

    Returns:
        Texts like `A = B × C`.
    """
    positions = range(len(names))
    effects = [1 << i for i in positions]
    effects += [1 << i | 1 << j for i, j in combinations(positions, 2)]
    seen: set[int] = set()
    lines = []
    for effect in effects:
        same = [effect]
        same += [other for other in effects if other != effect and effect ^ other in words]
        if len(same) > 1 and effect not in seen:
            lines.append(" = ".join(" × ".join(_get_members(names, mask)) for mask in same))
        seen.update(same)
    return lines


def _get_members(names: Sequence[str], mask: int) -> Iterator[str]:
    return (name for position, name in enumerate(names) if mask >> position & 1)
