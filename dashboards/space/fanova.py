"""Functional ANOVA of a random forest: how much of what it predicts each hyperparameter decides by itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dashboards.selection import Floats

if TYPE_CHECKING:
    from sklearn.tree._tree import Tree

NUM_TREES = 32
"""Half of what Optuna grows. Another seed of the forest then moves a share by 0.01 with 64 trials and by 0.002 with 1,000, which
is a fifth or less of what other trials of the same arm would do."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Leaves:
    """The leaves of one tree: boxes that fill the unit cube, each with the error predicted there."""

    low: Floats
    """Shape ``(leaves, columns)``."""
    high: Floats
    values: Floats
    """Percent, shape ``(leaves,)``."""

    @property
    def widths(self) -> Floats:
        """Shape ``(leaves, columns)``."""
        return self.high - self.low


def shares_of_variance(inputs: Sequence[Floats], errors: Floats, *, depth: int, seed: int) -> Floats:
    """The share of each hyperparameter in the sum of the main effects of a random forest grown on the trials.

    In each tree the main effect of a hyperparameter is the variance, over its values, of the prediction's mean over all
    others, as a share of the prediction's variance over the whole cube; these are averaged over the trees.

    Args:
        inputs: For each hyperparameter the coordinates in [0, 1], shape ``(trials, 1)``, or of choices one column for
            each with 1 where the trial has it and 0 elsewhere, shape ``(trials, choices)``.
        errors: Percent, finite, shape ``(trials,)``.
        depth: Of the deepest tree.
        seed: Of the forest.

    Returns:
        Shape ``(hyperparameters,)``, sum 1; all 0 where no tree found anything to split by.

    Source: Hutter, Hoos and Leyton-Brown 2014, "An Efficient Approach for Assessing Hyperparameter Importance". The
        numbers are those of Optuna's evaluator; that the variance is summed over pairs of leaves is own.
    """
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(n_estimators=NUM_TREES, max_depth=depth, random_state=seed)
    forest.fit(np.hstack(inputs), errors)
    ends = np.cumsum([0, *(columns.shape[1] for columns in inputs)])
    groups = [slice(start, end) for start, end in pairwise(ends)]
    found = [effects for one in forest.estimators_ if (effects := _main_effects(leaves_of(one.tree_), groups)).any()]
    if not found:
        return np.zeros(len(inputs))
    mean = np.mean(found, axis=0)
    return np.asarray(mean / mean.sum(), dtype=np.float64)


def leaves_of(tree: "Tree") -> Leaves:
    """The boxes of a tree of scikit-learn's that was grown on points of the unit cube and errors in percent. Source: own."""
    low = np.zeros((tree.node_count, tree.n_features))
    high = np.ones((tree.node_count, tree.n_features))
    for nodes in _levels(tree):
        features, thresholds = tree.feature[nodes], tree.threshold[nodes]
        for children, bounds in ((tree.children_left[nodes], high), (tree.children_right[nodes], low)):
            low[children], high[children] = low[nodes], high[nodes]
            bounds[children, features] = thresholds
    leaf = tree.children_left < 0
    return Leaves(low=low[leaf], high=high[leaf], values=tree.value[leaf, 0, 0])


def marginal_variance(leaves: Leaves, columns: slice) -> float:
    """The variance, over these columns, of the prediction's mean over all other columns; the cube's measure is uniform.

    That mean is a sum over the leaves, each of which adds its value times its extent in the other columns wherever its
    box covers the place. So the mean's square integrates to a sum over pairs of leaves, each with the volume in which the two
    boxes overlap in these columns.

    Args:
        leaves: Of one tree.
        columns: Of one hyperparameter.

    Returns:
        Percent squared; of no variance, rounding may leave it slightly negative.

    Source: Hutter, Hoos and Leyton-Brown 2014, section 4, for trees; the sum over pairs of leaves is own.
    """
    others = np.delete(leaves.widths, columns, axis=1).prod(axis=1)
    # Around the mean, so that the variance is not the difference of two large numbers.
    parts = (leaves.values - leaves.values @ leaves.widths.prod(axis=1)) * others
    low, high = leaves.low[:, columns], leaves.high[:, columns]
    overlap = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    return float(parts @ np.maximum(overlap, 0.0).prod(axis=2) @ parts)


def _main_effects(leaves: Leaves, groups: Sequence[slice]) -> Floats:
    """Each group's share in the prediction's variance, shape ``(groups,)``; all 0 where it does not vary."""
    volumes = leaves.widths.prod(axis=1)
    variance = volumes @ (leaves.values - leaves.values @ volumes) ** 2
    if not variance > 0:
        return np.zeros(len(groups))
    return np.array([max(marginal_variance(leaves, columns), 0.0) / variance for columns in groups])


def _levels(tree: "Tree") -> Iterator[npt.NDArray[np.intp]]:
    """The nodes that are split, from the root on, those of equal depth together."""
    nodes = np.zeros(1, dtype=np.intp)
    while len(nodes := nodes[tree.children_left[nodes] >= 0]):
        yield nodes
        nodes = np.concatenate([tree.children_left[nodes], tree.children_right[nodes]])
