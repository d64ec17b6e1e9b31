"""Spaces in the terms of Ray Tune and Optuna, and back; exact, or an error. Neither library is imported until it is used."""

from search_spaces.conversion.optuna import from_optuna, optuna_distribution, to_optuna
from search_spaces.conversion.ray_tune import from_ray_tune, to_ray_tune

__all__ = ["from_optuna", "from_ray_tune", "optuna_distribution", "to_optuna", "to_ray_tune"]
