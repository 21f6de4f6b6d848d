"""Designs: which arms a study compares, each a layer of settings over the base."""

from __future__ import annotations

from dataclasses import dataclass

from ibml.config import load
from ibml.config.base import Source
from ibml.config.layers import Setting, settings
from ibml.config.study import ArmsDesign, OneFactorDesign

BASE = "base"


@dataclass(frozen=True)
class Arm:
    """A named set of settings. `may_equal_reference`: where it does, it is the reference and not run again."""

    name: str
    settings: list[Setting]
    source: Source
    may_equal_reference: bool = False


def expand(design: ArmsDesign | OneFactorDesign, document: load.Document) -> list[Arm]:
    """The arms of a design, the reference among them, in the order of the file."""
    if isinstance(design, ArmsDesign):
        return [_named_arm(name, document) for name in design.arms]
    return [Arm(BASE, [], document.source(("design",))), *_factor_arms(design, document)]


def reference(design: ArmsDesign | OneFactorDesign) -> str:
    return design.reference if isinstance(design, ArmsDesign) else BASE


def factors(design: ArmsDesign | OneFactorDesign) -> tuple[str, ...]:
    """The paths whose values are what the arms are compared for, in every arm."""
    return tuple(design.factors) if isinstance(design, OneFactorDesign) else ()


def _named_arm(name: str, document: load.Document) -> Arm:
    at = ("design", "arms", name)
    return Arm(name, settings(document, at), document.source(at))


def _factor_arms(design: OneFactorDesign, document: load.Document) -> list[Arm]:
    arms = []
    short = _short_names(list(design.factors))
    for factor, values in design.factors.items():
        for index, value in enumerate(values):
            source = document.source(("design", "factors", factor, index))
            layer = settings(load.Document(document.file, {factor: value}))
            placed = [Setting(s.path, s.value, source) for s in layer]
            arms.append(Arm(f"{short[factor]}={_shown(value)}", placed, source, may_equal_reference=True))
    return arms


def _short_names(paths: list[str]) -> dict[str, str]:
    """The last two parts of each path, where that still tells them apart; tables are wide enough without the rest."""
    short = {path: ".".join(path.split(".")[-2:]) for path in paths}
    return short if len(set(short.values())) == len(paths) else {path: path for path in paths}


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ",".join(f"{key}={_shown(part)}" for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_shown, value))}]"
    return "none" if value is None else str(value)
