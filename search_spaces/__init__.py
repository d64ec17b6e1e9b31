"""What may be searched: distributions, spaces, and the map from the unit cube to hyperparameter values."""

from search_spaces.distributions import (
    Choice,
    Distribution,
    HyperparameterValue,
    IntUniform,
    LogUniform,
    SpaceError,
    Uniform,
    around,
    parse_distribution,
)
from search_spaces.sampling import unit_point
from search_spaces.space import SearchSpace

__all__ = [
    "Choice",
    "Distribution",
    "HyperparameterValue",
    "IntUniform",
    "LogUniform",
    "SearchSpace",
    "SpaceError",
    "Uniform",
    "around",
    "parse_distribution",
    "unit_point",
]
