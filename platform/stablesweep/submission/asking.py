"""One sentence for whatever is wrong with a job server."""

import contextlib
import os
import re
from collections.abc import Iterator

from stablesweep.errors import StablesweepError, short


class JobServerError(StablesweepError):
    """The job server refuses, or is none."""

    exit_code = 2


class Unreachable(JobServerError):
    """Nothing answers at the address of the job server: it may come back."""


class NotReady(JobServerError):
    """The cluster has just been started and takes no job yet."""


def uses_token() -> bool:
    """Whether Ray's client sends a token."""
    return os.environ.get("RAY_AUTH_MODE") == "token"


@contextlib.contextmanager
def asking(address: str) -> Iterator[None]:
    """What Ray's client raises in the block becomes a sentence; what it says about a token is not repeated."""
    import requests
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        raise JobServerError(f"{address}: {_token_sentence(str(error))}") from None
    except (ConnectionError, requests.ConnectionError, requests.Timeout) as error:
        raise Unreachable(
            f"{address}: no answer; is the cluster running with its dashboard (`ray start --include-dashboard true`), "
            "and can this machine reach it?"
        ) from error
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        raise JobServerError(f"{address}: the job server gave no usable answer ({short(error)}).") from error
    except RuntimeError as error:
        raise _refusal(address, error) from error


def _refusal(address: str, error: RuntimeError) -> JobServerError:
    """What the server said, as a sentence."""
    text = short(error)
    if "No available agent" in text:
        return NotReady(f"{address}: the cluster takes no job yet; try again in a minute, or look at its nodes.")
    if re.search(r"status code 50[234]", text):
        return Unreachable(f"{address}: the job server does not answer in full ({text}).")
    if "does not exist" in text:
        return JobServerError(
            f"{address}: the cluster does not know this job, it may have been started anew; submit the study again."
        )
    return JobServerError(f"{address}: the job server refused ({text}).")


def _token_sentence(text: str) -> str:
    if uses_token() and "required" not in text and "no authentication token" not in text:
        return "the cluster refused the token; correct RAY_AUTH_TOKEN, or the file that RAY_AUTH_TOKEN_PATH names."
    return (
        "the cluster asks for a token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN "
        "(or put the token into ~/.ray/auth_token)."
    )
