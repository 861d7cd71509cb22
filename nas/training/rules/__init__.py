"""Which architectures each step trains: `EXAMPLES` holds one of each rule, for the contract tests."""

from nas.training.rules.complexity_aware import ComplexityAware
from nas.training.rules.fairness import StrictFairness
from nas.training.rules.progressive import Opening, Progressive
from nas.training.rules.protocol import Rule
from nas.training.rules.sandwich import Sandwich
from nas.training.rules.single_path import SinglePath

EXAMPLES: tuple[Rule, ...] = (SinglePath(), StrictFairness(), Sandwich(), Progressive(), ComplexityAware())

__all__ = [
    "EXAMPLES",
    "ComplexityAware",
    "Opening",
    "Progressive",
    "Rule",
    "Sandwich",
    "SinglePath",
    "StrictFairness",
]
