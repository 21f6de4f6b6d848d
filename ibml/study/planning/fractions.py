"""Regular fractions of two-level designs: fewer cells, and which effects can then not be told apart.

Box & Hunter (1961), "The 2^(k-p) fractional factorial designs". An effect is a set of factors, written as a bit mask.
In a fraction some factors are products of others, so that certain products of factors (the words) never change; two
effects whose product is a word are one and the same contrast. The resolution is the length of the shortest word.

`pydoe` (1.6) cannot replace this without changing the cells of recorded studies: `fracfact_by_res` and `fracfact_opt`
choose other generators, and their cells lack the reference (all zeros) where a generator has an even number of factors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product


def find_fraction(factors: int, resolution: int) -> tuple[list[tuple[int, ...]], list[int]] | None:
    """The levels (0 or 1) of each factor in every cell of a smallest fraction, the cell of all zeros first, and its
    words. None where the whole design is as small."""
    for base in range(2, factors):
        words = _find_words(factors, base, resolution)
        if words is not None:
            cells = []
            for levels in product((0, 1), repeat=base):
                set_bits = sum(level << position for position, level in enumerate(levels))
                made = [(set_bits & word & ((1 << base) - 1)).bit_count() % 2 for word in words]
                cells.append((*levels, *made))
            return cells, _multiply_words(words)
    return None


def _find_words(factors: int, base: int, resolution: int) -> list[int] | None:
    """A word for each factor beyond the first `base`, such that no product of them is shorter than the resolution."""
    parents = sorted(
        (mask for mask in range(1, 1 << base) if mask.bit_count() >= resolution - 1),
        key=lambda m: (-m.bit_count(), m),
    )

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
    """All products of one or more words."""
    products: list[int] = []
    for word in words:
        products += [word, *(word ^ other for other in products)]
    return products


def describe_aliases(names: Sequence[str], words: Sequence[int]) -> list[str]:
    """The main effects and interactions of two factors that share a contrast with another such effect, as texts like
    `A = B × C`."""
    effects = [1 << i for i in range(len(names))] + [
        1 << i | 1 << j for i, j in combinations(range(len(names)), 2)
    ]
    seen: set[int] = set()
    lines = []
    for effect in effects:
        same = [
            effect,
            *(other for other in effects if other != effect and effect ^ other in words),
        ]
        if len(same) > 1 and effect not in seen:
            lines.append(" = ".join(" × ".join(_get_members(names, other)) for other in same))
        seen.update(same)
    return lines


def _get_members(names: Sequence[str], mask: int) -> Iterator[str]:
    return (name for position, name in enumerate(names) if mask >> position & 1)
