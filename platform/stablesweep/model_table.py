"""The built-in models beside their parameter counts."""

from dataclasses import dataclass

from dashboards.terminal import text_table

REFERENCE_CLASSES = 1000
REFERENCE_SIZE = 224
MICRO_CLASSES = 10
MICRO_SIZE = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRow:
    """One model, built as stated."""

    name: str
    parameters: int
    num_classes: int
    image_size: int


def model_rows() -> list[ModelRow]:
    """Every built-in model, built once without memory for its weights, sorted by name.

    The paper's sizes are counted as published (1000 classes, 224 px), the micro ones at 10 classes and 32 px.
    """
    import torch

    from trainables import create_model, model_names

    rows = []
    for name in model_names():
        micro = name.endswith("_micro")
        classes, size = (MICRO_CLASSES, MICRO_SIZE) if micro else (REFERENCE_CLASSES, REFERENCE_SIZE)
        with torch.device("meta"):
            model = create_model(name, num_classes=classes, image_size=size, in_channels=1 if micro else 3)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        rows.append(ModelRow(name=name, parameters=parameters, num_classes=classes, image_size=size))
    return rows


def render_models(rows: list[ModelRow]) -> str:
    """The models as a text table."""
    cells = [[row.name, f"{row.parameters:,}", str(row.num_classes), f"{row.image_size} px"] for row in rows]
    return text_table(["model", "parameters", "classes", "image"], cells)
