"""Whose placement groups are looked after, by Ray's own ids."""

import ray
from hypothesis import given
from hypothesis import strategies as st

from stablesweep.orphans import is_an_actor


@given(st.binary(min_size=11, max_size=11))
def test_the_id_of_an_actor_may_begin_with_any_byte(random: bytes) -> None:
    """One in 256 begins like that of a driver: its group would hold its CPUs for ever."""
    actor = ray.ActorID(b"\xff" + random + ray.JobID.from_int(1).binary())
    assert is_an_actor(actor.binary()) == (random != b"\xff" * 11)


def test_a_driver_is_no_actor() -> None:
    assert not is_an_actor(ray.ActorID.nil().binary())
    assert not is_an_actor(b"\xff" * 12 + ray.JobID.from_int(1).binary())
