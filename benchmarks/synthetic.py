"""How hard the synthetic task is: final error of both micro models over learning rates. Prints the table of docs/data.md."""

import torch

from trainables import LockstepPack, Member, Recipe, load_dataset

RUNS = (("sgd", 15, 1e-4, (0.02, 0.1, 0.5)), ("adamw", 30, 0.05, (0.0005, 0.002, 0.008)))
"""Optimizer, epochs, weight decay, learning rates."""


def errors(model: str, optimizer: str, epochs: int, weight_decay: float, lrs: tuple[float, ...]) -> list[str]:
    """The final errors in percent, one for each learning rate; the status where a training did not complete."""
    members = [Member(key=str(lr), seed=0, hyperparameters={"lr": lr, "weight_decay": weight_decay}) for lr in lrs]
    data = load_dataset("synthetic", image_size=32)
    recipe = Recipe(batch_size=128)
    pack = LockstepPack(
        members, model=model, optimizer=optimizer, data=data, recipe=recipe, epochs=epochs, study_seed=0
    )
    while not pack.finished:
        pack.run_epoch()
    return [result.status if result.error is None else f"{result.error:.1f}" for result in pack.results()]


if __name__ == "__main__":
    torch.set_num_threads(1)
    for optimizer, epochs, weight_decay, lrs in RUNS:
        for model in ("vit_c_micro", "vit_p_micro"):
            row = errors(model, optimizer, epochs, weight_decay, lrs)
            print(
                f"{model} {optimizer}, {epochs} epochs, lr {' / '.join(map(str, lrs))}: {' / '.join(row)}", flush=True
            )
