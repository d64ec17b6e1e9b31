"""Results that others published, as reference rows beside one's own."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import pyarrow as pa

SOURCE = "arXiv:2106.14881, Table 2"
"""Where :func:`published_peak` comes from, as it stands behind a model's name."""

PUBLISHED_SCHEMA = pa.schema(
    [
        pa.field("model", pa.string()),
        pa.field("epochs", pa.int64()),
        pa.field("error", pa.float64()),
        pa.field("flops", pa.int64()),
        pa.field("parameters", pa.int64()),
        pa.field("activations", pa.int64()),
        pa.field("minutes_per_epoch", pa.float64()),
        pa.field("pretrained", pa.bool_()),
    ]
)

_LENGTHS = {"e100": 100, "e200": 200, "e400": 400, "in21k": None}


def published_peak() -> pa.Table:
    """The paper's peak performance: one row per model and training length, in the paper's order.

    Returns:
        A table with :data:`PUBLISHED_SCHEMA`. ``error``: top-1 in percent on ImageNet-1k's validation split. ``flops``
        (multiply-adds), ``parameters`` and ``activations`` as published, two or three digits. ``minutes_per_epoch`` on 8
        V100-32GB. Rows that are ``pretrained`` were trained on ImageNet-21k before; their ``epochs`` are null.

    Source: arXiv:2106.14881v3, Table 2. With how many seeds is not said there.
    """
    content = _content()
    rows = []
    for model, values in content["rows"].items():
        row = dict(zip(content["columns"], values, strict=True))
        common = {
            "model": model,
            "flops": round(row["flops_g"] * 1e9),
            "parameters": round(row["parameters_m"] * 1e6),
            "activations": round(row["activations_m"] * 1e6),
            "minutes_per_epoch": row["minutes_per_epoch"],
        }
        rows += [
            common | {"epochs": epochs, "error": row[name], "pretrained": epochs is None}
            for name, epochs in _LENGTHS.items()
            if row[name] is not None
        ]
    return pa.Table.from_pylist(rows, schema=PUBLISHED_SCHEMA)


@cache
def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        files("dashboards.statistics").joinpath("published.json").read_text(encoding="utf-8")
    )
    return content
