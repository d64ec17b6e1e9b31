"""What all parts of a study have in common when they are read."""

import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator


class Strict(BaseModel):
    """A part of a study: unknown keys, values of another type and infinite numbers are errors; never changed."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
        validate_default=True,
    )


class WithOptions(Strict):
    """A named thing and the keyword arguments that its factory gets: every key that is no field of its own."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="after")
    def _options_are_plain(self) -> Self:
        require_plain(self.options)
        return self

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments."""
        return dict(self.model_extra or {})


def require_plain(options: dict[str, Any]) -> None:
    """Nothing, if options can be written to a study file, and sent to another process, as they are."""
    for name, value in options.items():
        try:
            json.dumps(value, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            message = f"{name}: {value!r} is not plain; use finite numbers, texts, truth values, lists and mappings"
            raise ValueError(message) from error
