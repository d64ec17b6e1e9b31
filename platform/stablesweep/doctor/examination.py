"""All checks, one after the other."""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stablesweep.errors import StablesweepError
from stablesweep.findings import Finding
from stablesweep.home import Home

if TYPE_CHECKING:
    from stablesweep.study import Study

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What is to be looked at."""

    home: Home
    study: "Study | None" = None
    source: str = ""
    """What messages call the study: its file or its name."""
    storage: str | None = None
    """Where checkpoints go, path or URI; None: as in ``run``."""
    ray: bool = True
    """Whether Ray is started or joined."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One step of an examination; takes up to some ten seconds."""

    name: str
    look: Callable[[], Iterator[Finding]]


def checks(asked: Asked) -> list[Check]:
    """What :func:`examine` goes through, in this order."""
    return [
        Check(name="installation", look=_installation),
        Check(name="machine", look=lambda: _machine(asked)),
        Check(name="gpu", look=_gpu),
        Check(name="tracking server", look=lambda: _tracking(asked)),
        Check(name="storage", look=lambda: _storage(asked)),
        Check(name="dataset", look=lambda: _dataset(asked)),
        Check(name="cluster", look=lambda: _cluster(asked)),
    ]


def examine(check: Check) -> list[Finding]:
    """What a check finds. Whatever goes wrong in it is one of its findings and ends none of the others."""
    findings: list[Finding] = []
    try:
        findings.extend(check.look())
    except StablesweepError as error:
        findings.append(_failed(check, str(error).rstrip(".")))
    except (Exception, SystemExit) as error:
        # A library that is half installed may raise anything.
        logger.info("the check %s raised", check.name, exc_info=True)
        findings.append(_failed(check, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"))
    return findings


def _failed(check: Check, what: str) -> Finding:
    found = f"this could not be looked at ({what})"
    return Finding(name=check.name, ok=False, found=found, way_out="mend what it names, and look again")


def _installation() -> Iterator[Finding]:
    from stablesweep.doctor.installation import installation

    yield from installation()


def _machine(asked: Asked) -> Iterator[Finding]:
    from stablesweep.doctor import machine

    yield from machine.folders(asked.home)
    yield machine.shared_memory(decodes=_decodes(asked.study))
    yield machine.pictures()


def _decodes(study: "Study | None") -> bool:
    from stablesweep.preflight import dataset_path

    return study is not None and study.pack.decoders > 0 and dataset_path(study) is not None


def _gpu() -> Iterator[Finding]:
    from stablesweep.doctor.machine import gpu

    yield gpu()


def _tracking(asked: Asked) -> Iterator[Finding]:
    from stablesweep.doctor.places import tracking

    yield tracking(asked.home, asked.study)


def _storage(asked: Asked) -> Iterator[Finding]:
    from stablesweep.doctor.places import storage_finding

    yield storage_finding(_folder(asked))


def _dataset(asked: Asked) -> Iterator[Finding]:
    if asked.study is None:
        yield Finding(name="dataset", ok=None, found="not looked at: no study was given")
        return
    from stablesweep.doctor.study_data import study_data

    yield from study_data(asked.study, asked.source)


def _cluster(asked: Asked) -> Iterator[Finding]:
    from stablesweep.doctor import cluster

    yield cluster.token_finding(os.environ, Path.home())
    yield from cluster.cluster(asked.study, _folder(asked)) if asked.ray else cluster.without_ray(asked.study)


def _folder(asked: Asked) -> str:
    """Where checkpoints would go."""
    from stablesweep.checkpoints import STORAGE_VARIABLE, study_storage

    if asked.study is None and not asked.storage and not os.environ.get(STORAGE_VARIABLE):
        return str(asked.home.path)
    return study_storage(asked.home.study("any" if asked.study is None else asked.study.name), asked.storage)
