"""scikit-learn's MLPClassifier on a table of measurements: what a trainable of your own looks like.

The study file beside this module names it under ``imports``, so that it is imported on the driver and on every worker.
"""

import math
import warnings
from collections.abc import Iterator

from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import stablesweep as ss


@ss.register_trainable("tabular_mlp")
@ss.one_at_a_time
def train(member: ss.Member, context: ss.TrainingContext) -> Iterator[dict[str, float]]:
    """One trial: after each epoch its error on the held-out rows, percent, and its training loss.

    Args:
        member: Its hyperparameters are those of the study's space: lr, alpha, layers, width, second_width, momentum.
        context: ``options`` are those that the study gives under ``trainable``; ``optimizer`` is the arm's.
    """
    values = member.hyperparameters
    # A dimension whose condition does not hold is not there: with one layer there is no second_width.
    further = int(values["layers"]) - 1
    widths = [int(values["width"])] + further * [int(values.get("second_width", 0))]
    network = MLPClassifier(
        hidden_layer_sizes=widths,
        solver=context.optimizer,
        learning_rate_init=float(values["lr"]),
        alpha=float(values["alpha"]),
        momentum=float(values.get("momentum", 0.9)),
        batch_size=int(context.options.get("batch_size", 32)),
        random_state=member.seed,
    )
    # The same split for every trial of the study: they are compared with each other.
    table, labels = load_breast_cancer(return_X_y=True)
    rows, held_out, row_labels, held_out_labels = train_test_split(
        table, labels, test_size=0.3, stratify=labels, random_state=context.study_seed
    )
    scaler = StandardScaler().fit(rows)
    rows, held_out = scaler.transform(rows), scaler.transform(held_out)
    for _ in range(context.epochs):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                network.partial_fit(rows, row_labels, classes=[0, 1])
        except ValueError as error:
            if "non-finite" not in str(error):
                raise
            # The weights overflowed: not a failure of the code but a result, a diverged trial.
            yield {"error": math.nan}
            return
        yield {"error": 100 * (1 - network.score(held_out, held_out_labels)), "train_loss": float(network.loss_)}
