"""Figures as small JSON: numbers as single-precision typed arrays, which is far finer than a pixel."""

import base64
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def compact_json(figure: "Figure") -> str:
    """The figure's JSON, with its arrays in base64: floats to 7 digits.

    A curve of an EDF keeps every step; only the last digits of a coordinate change, by less than
    one part in ten million.
    """
    from plotly.utils import PlotlyJSONEncoder

    encoder = PlotlyJSONEncoder()
    # Not figure.to_json(): it writes the arrays in full, and what it wrote would have to be read again.
    return json.dumps(
        _small(figure.to_dict()),
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
        # Arrays of objects and numpy's own numbers come here, and may hold infinite ones like all others.
        default=lambda value: _small(encoder.default(value)),
    )


def _small(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) >= {"bdata", "dtype"}:
            return _small_array(value)
        return {name: _small(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_small(item) for item in value]
    # JSON has no such numbers.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _small_array(spec: dict[str, Any]) -> dict[str, Any]:
    values = np.frombuffer(base64.b64decode(spec["bdata"]), dtype=np.dtype(spec["dtype"]).newbyteorder("<"))
    if values.dtype == np.float64:
        values = values.astype(np.float32)
    small = {"dtype": values.dtype.str.lstrip("<|=>"), "bdata": base64.b64encode(values.tobytes()).decode()}
    return small | ({"shape": spec["shape"]} if "shape" in spec else {})
