"""The environment of a job on the cluster: its files, its modules, its variables."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dashboards.formats import holds_password
from stablesweep.errors import StablesweepError
from stablesweep.home import TRACKING_VARIABLE

_NAME = re.compile(r"[A-Za-z_]\w*")
_OWN_PACKAGE = Path("platform/stablesweep")


class EnvironmentRefused(StablesweepError):
    """A variable that must not be handed over, or cannot be."""

    exit_code = 2


def job_variables(names: Sequence[str]) -> dict[str, str]:
    """The variables that the job gets from this process: those that are named, and the tracking server.

    Args:
        names: What the user asked to hand over. Everyone who can see the cluster's jobs can see the values.

    Raises:
        EnvironmentRefused: If one is not set, is Ray's token, or names a tracking server that the cluster cannot use.
    """
    variables = {name: _value(name) for name in names}
    tracking = os.environ.get(TRACKING_VARIABLE)
    if tracking and TRACKING_VARIABLE not in variables:
        _check_tracking(tracking)
        variables[TRACKING_VARIABLE] = tracking
    return variables


def _value(name: str) -> str:
    if not _NAME.fullmatch(name):
        # What follows an equals sign may be a secret.
        raise EnvironmentRefused(
            f"--env {name.partition('=')[0]}: give the name of a variable alone; its value is taken from here."
        )
    if name.startswith("RAY_AUTH_"):
        raise EnvironmentRefused(
            f"--env {name}: the token is not handed over, everyone who can see the cluster's jobs could read it; "
            "the nodes of the cluster have it already."
        )
    if name not in os.environ:
        raise EnvironmentRefused(f"--env {name}: this variable is not set here; export it first.")
    return os.environ[name]


def _check_tracking(uri: str) -> None:
    unset = f"unset {TRACKING_VARIABLE} here to record the study in its home on the cluster"
    # A user without a password may be a token.
    if holds_password(uri) or re.search(r"://[^/]*@", uri):
        raise EnvironmentRefused(
            f"{TRACKING_VARIABLE}: it holds a password, which everyone who can see the cluster's jobs could read; set "
            f"it on the nodes of the cluster and unset it here, or hand it over all the same: --env {TRACKING_VARIABLE}."
        )
    if "://" not in uri or uri.startswith(("file:", "sqlite:")):
        raise EnvironmentRefused(
            f"{TRACKING_VARIABLE}={uri}: the cluster cannot see this file; name a server that it can reach, or {unset}."
        )


def runtime_environment(staged: Path | None, variables: dict[str, str]) -> dict[str, Any]:
    """What Ray prepares for the job and all its workers.

    Args:
        staged: The folder that is uploaded as the working directory; None for none.
        variables: The job's variables.
    """
    environment: dict[str, Any] = {"env_vars": variables} if variables else {}
    if staged is not None:
        environment["working_dir"] = str(staged)
        if (staged / _OWN_PACKAGE / "__init__.py").is_file():
            # A clone of this project: the cluster then needs what this project depends on, but not this project.
            environment["py_modules"] = [str(staged / _OWN_PACKAGE)]
    return environment
