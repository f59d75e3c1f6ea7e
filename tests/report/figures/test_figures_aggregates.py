"""The figure of interquartile means and performance profiles."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lvm_bench.report.figures import aggregates, style
from lvm_bench.report.figures.files import Folder
from lvm_bench.report.tables import aggregate_tables
from lvm_bench.runs.suite_record import About

Scored = Callable[..., pd.DataFrame]
VALUES = {"vae": [4.0, 6.0], "aae": [1.0, 3.0], "avae": [2.0, 4.0]}


def frame(scored: Scored, values: dict[str, list[float]]) -> pd.DataFrame:
    return pd.concat([scored(values, key) for key in ("sse.heldout", "gaussian_kl_target.mean")])


def test_a_point_and_a_profile_per_method(scored: Scored, about: About) -> None:
    found = aggregate_tables.aggregates(frame(scored, VALUES), about)
    assert found
    means, profiles = aggregates.draw(found, about).axes
    assert [text.get_text() for text in means.get_yticklabels()] == ["AAE", "AVAE", "VAE"]
    assert [line.get_xdata()[0] for line in means.lines[::2]] == pytest.approx([1, 2 / 3, 0])
    assert len(profiles.lines) == len(profiles.collections) == 3
    for line in profiles.lines:
        shares = np.asarray(line.get_ydata())
        assert (shares[0], shares[-1]) == (1, 0)
        assert (np.diff(shares) <= 0).all()


@pytest.mark.parametrize("odd", [[math.inf], [1e300, math.inf], [3.0]])
def test_scores_of_any_value_and_few_seeds_are_drawn(odd: list[float], scored: Scored, about: About) -> None:
    found = aggregate_tables.aggregates(frame(scored, {"vae": [4.0, 6.0], "aae": [1.0], "my_method": odd}), about)
    assert found
    with style.look():
        aggregates.draw(found, about).draw_without_rendering()


def test_intervals_are_spoken_of_where_there_are_some(scored: Scored, about: About, tmp_path: Path) -> None:
    single = {name: own[:1] for name, own in VALUES.items()}
    for values, told in ((VALUES, True), (single, False)):
        (picture,) = aggregates.write(
            Folder(tmp_path), about, aggregate_tables.aggregates(frame(scored, values), about)
        )
        assert picture.file == tmp_path / "aggregates.png"
        assert ("95 % intervals" in picture.text) == told


def test_nothing_is_drawn_of_one_block_or_of_more_methods_than_can_be_read(
    scored: Scored, about: About, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        aggregates.write(Folder(tmp_path), about, aggregate_tables.aggregates(scored(VALUES, "sse.heldout"), about))
        == []
    )
    monkeypatch.setattr(aggregates, "MOST", 2)
    assert aggregates.write(Folder(tmp_path), about, aggregate_tables.aggregates(frame(scored, VALUES), about)) == []
