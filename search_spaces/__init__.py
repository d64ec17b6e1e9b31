"""What may be searched: distributions, spaces, and the map from the unit cube to hyperparameter values."""

from search_spaces.adaptive import AdaptiveSearch, Told
from search_spaces.conditions import Conditional
from search_spaces.conversion import from_optuna, from_ray_tune, optuna_distribution, to_optuna, to_ray_tune
from search_spaces.distributions import (
    Choice,
    Constant,
    Distribution,
    IntUniform,
    LogIntUniform,
    LogUniform,
    Uniform,
    around,
    num_values,
)
from search_spaces.grid import grid_points, grid_size
from search_spaces.named import PAPER_BATCH_SIZE, family_of, named_space, paper_centre, space_names
from search_spaces.optuna_samplers import adaptive_sampler_names, require_sampler
from search_spaces.parsing import distribution_kinds, is_distribution, parse_distribution, register_distribution
from search_spaces.sampling import NON_ADAPTIVE, unit_point, unit_points
from search_spaces.space import SearchSpace, space_around
from search_spaces.values import HyperparameterValue, SpaceError

__all__ = [
    "NON_ADAPTIVE",
    "PAPER_BATCH_SIZE",
    "AdaptiveSearch",
    "Choice",
    "Conditional",
    "Constant",
    "Distribution",
    "HyperparameterValue",
    "IntUniform",
    "LogIntUniform",
    "LogUniform",
    "SearchSpace",
    "SpaceError",
    "Told",
    "Uniform",
    "adaptive_sampler_names",
    "around",
    "distribution_kinds",
    "family_of",
    "from_optuna",
    "from_ray_tune",
    "grid_points",
    "grid_size",
    "is_distribution",
    "named_space",
    "num_values",
    "optuna_distribution",
    "paper_centre",
    "parse_distribution",
    "register_distribution",
    "require_sampler",
    "space_around",
    "space_names",
    "to_optuna",
    "to_ray_tune",
    "unit_point",
    "unit_points",
]
