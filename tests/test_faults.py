"""A sample of `make faults`: the same faults in small numbers."""

from collections.abc import Callable

import pytest
from faults.disks import full, read_only
from faults.kills import crashes, kills
from faults.mutations import mutations
from faults.place import Item, Place, places
from faults.runners import runners

ITEMS = {
    "kills": lambda make: kills(make, 1, 1, ("aae",)),
    "crashes": lambda make: crashes(make, 1, 2),
    "mutations": lambda make: mutations(make, 1, 4),
    "runners": lambda make: runners(make, 1, counts=(2,), kills=(1,)),
    "disks": lambda make: full(make, 1, every=16),
    "read-only": lambda make: read_only(make, 1),
}


@pytest.mark.parametrize("name", ITEMS)
def test_every_promise_holds(name: str) -> None:
    attempt: Callable[[Callable[[str], Place]], Item] = ITEMS[name]
    with places() as make:
        assert attempt(make).failures == []
