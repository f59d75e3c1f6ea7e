"""A sample of `make faults`: the same faults in small numbers, on short trainings and in forks."""

from collections.abc import Callable

import pytest
from faults.disks import full, read_only
from faults.kills import crashes, kills
from faults.mutations import mutations
from faults.place import Item, Place, places
from faults.runners import runners

SMALL = ("--set=epochs=8", "--set=train_images=400", "--set=test_images=100")
KILLED = (*SMALL, "--set=checkpoint_seconds=0.1", '--set=metrics=["mse", "gaussian_kl", "frechet"]')
ITEMS = {
    "kills": lambda make: kills(make, 1, 1, ("aae",), KILLED),
    "crashes": lambda make: crashes(make, 1, 2),
    "mutations": lambda make: mutations(make, 1, 2),
    "runners": lambda make: runners(make, 1, counts=(2,), kills=(1,), more=SMALL),
    "disks": lambda make: full(make, 1, every=16),
    "read-only": lambda make: read_only(make, 1),
}


@pytest.mark.parametrize("name", ITEMS)
def test_every_promise_holds(name: str) -> None:
    attempt: Callable[[Callable[[str], Place]], Item] = ITEMS[name]
    with places(forks=True) as make:
        assert attempt(make).failures == []
