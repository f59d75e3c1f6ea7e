"""A run's record is read whole or refused in a sentence: what a run writes passes, other things do not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from faults.malicious import attempt, bench, job
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvm_bench import records, store
from lvm_bench.errors import RunError

json = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner))


def test_the_records_of_runs_and_controls_pass(lvm_bench: Callable[..., Result]) -> None:
    tiny = ("--set=epochs=1", "--set=train_images=200", "--set=test_images=20", '--set=metrics=["mse"]')
    assert lvm_bench("run", "--suite", "quick", "--methods", "vae", "--seeds", 0, *tiny).exit_code == 0
    files = list(Path("results").rglob("job.json"))
    assert {records.read(file)["method"] for file in files} == {"vae", "real-images", "standard-normal"}


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    bench()
    return job()


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_another_value_is_refused_in_a_sentence_or_is_harmless(record: dict[str, Any], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(record)))
    store.write_record(Path("job.json"), {**record, key: data.draw(json)})
    told = attempt(lambda: records.read(Path("job.json")))
    if told.code:
        assert f"not the record of a run ({key}" in told.text
    else:
        found = records.read(Path("job.json"))
        assert type(found[key]) is type(record[key]) or key in ("extractor", "fingerprint")


@pytest.mark.parametrize("key", ["status", "settings", "files", "environment", "digest_scores"])
def test_a_record_without_a_part_is_refused(record: dict[str, Any], key: str) -> None:
    del record[key]
    store.write_record(Path("job.json"), record)
    with pytest.raises(RunError, match=rf"job\.json: not the record of a run \({key}: field required"):
        records.read(Path("job.json"))
