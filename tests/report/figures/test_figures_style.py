"""What all figures share: names and looks, axes, and room for legends."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from lvm_bench.report.figures import style
from lvm_bench.runs.suite_record import About
from lvm_bench.suites.labels import first_methods

LONG = "a-very-long-name-of-a-method-that-goes-on-and-on-up-to-64-chars"


def test_a_long_name_keeps_its_ends() -> None:
    assert style.plain(LONG) == "a-very-long-name…up-to-64-chars"[:17] + LONG[-11:]
    assert len(style.plain(LONG)) == style.LONGEST
    assert style.name("beta-tcvae") == "β-TCVAE"


@pytest.mark.parametrize(("text", "shown"), [("a\n b", "a b"), ("\x1b[2J", "?[2J"), ("潜在", "??"), ("5–6", "5–6")])
def test_what_the_font_lacks_is_a_question_mark(text: str, shown: str) -> None:
    assert style.plain(text) == shown


def test_methods_without_a_prior_are_grey_and_seven_colours_meet_eight_markers() -> None:
    names = [*first_methods(), *(f"m{i}" for i in range(49))]
    found = style.looks(names, About())
    assert len({tuple(look.values()) for look in found.values()}) == 56
    assert style.looks(["ae"], About())["ae"]["color"] == style.GREY


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[1.0, 2.0], [9.0]], "linear"),
        ([[1.0, 2.0], [11.0]], "log"),
        ([[0.0, 100.0]], "linear"),
        ([[-1.0, 100.0]], "linear"),
        ([[1.0, np.inf], [np.nan, 40.0]], "log"),
        ([[1e-300, 1e300]], "log"),
        ([[np.nan]], "linear"),
        ([], "linear"),
    ],
)
def test_an_axis_is_logarithmic_where_positive_numbers_are_far_apart(values: list[list[float]], expected: str) -> None:
    _, (axes,) = style.panels(1, 1, 2.0)
    style.set_scale([axes], "y", values)
    assert axes.get_yscale() == expected


@pytest.mark.parametrize("top", [11.0, 200.0, 1e4])
def test_the_numbers_of_a_logarithmic_axis_do_not_crowd(top: float) -> None:
    made, (axes,) = style.panels(1, 1, 2.0)
    axes.plot([1, 2], [1, top])
    style.set_scale([axes], "y", [[1.0, top]])
    made.draw_without_rendering()
    low, high = axes.get_ylim()
    ticks = axes.yaxis.get_major_ticks()
    shown = [tick.label1 for tick in ticks if low <= tick.get_loc() <= high and tick.label1.get_text()]
    extents = [text.get_window_extent() for text in shown]
    assert 4 <= len(extents) <= 9
    assert all(lower.y1 <= upper.y0 for lower, upper in pairwise(extents))
    assert not axes.yaxis.get_minor_ticks()


def test_mean_and_range_are_those_of_the_finite_values() -> None:
    rows = np.array([[1.0, np.nan, np.inf, np.nan], [3.0, 5.0, 7.0, -np.inf]])
    mean, low, high = style.across(rows)
    np.testing.assert_array_equal(mean, [2, 5, 7, np.nan])
    np.testing.assert_array_equal(low, [1, 5, 7, np.nan])
    np.testing.assert_array_equal(high, [3, 5, 7, np.nan])


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (4, 4), (5, 3), (6, 3), (8, 4), (9, 3), (13, 4), (40, 4)])
def test_rows_of_panels_are_equally_full(count: int, columns: int) -> None:
    assert style.balanced(count, 4) == columns
    _, places = style.panels(count, 4, 1.0)
    assert {axes.get_subplotspec().get_gridspec().ncols for axes in places} == {columns}  # type: ignore[union-attr]


@pytest.mark.parametrize("alike", [False, True])
def test_labels_stand_below_each_column_and_those_of_equal_axes_beside_the_first_one(alike: bool) -> None:
    _, places = style.panels(5, 4, 1.0)
    for axes in places:
        axes.set_xlabel("epoch")
    style.outer(places, 4, alike)
    assert [bool(axes.get_xlabel()) for axes in places] == [False, False, True, True, True]
    below = [axes.xaxis.get_tick_params().get("labelbottom", True) for axes in places]
    beside = [axes.yaxis.get_tick_params().get("labelleft", True) for axes in places]
    assert below == ([False, False, True, True, True] if alike else [True] * 5)
    assert beside == ([True, False, False, True, False] if alike else [True] * 5)


@pytest.mark.parametrize("count", [1, 7, 40])
def test_a_legend_covers_no_data_and_the_panels_keep_their_height(count: int) -> None:
    with style.look():
        made, places = style.panels(1, 1, 2.0)
        entries = {f"{i} {LONG}"[:28]: Line2D([], []) for i in range(count)}
        style.legend(made, entries)
        made.draw_without_rendering()
        renderer = made.canvas.get_renderer()  # type: ignore[attr-defined]
        panel, shown = places[0].get_tightbbox(renderer), made.legends[0].get_window_extent(renderer)
    assert shown.y1 <= panel.y0
    assert shown.y0 >= 0
    assert shown.x0 >= 0
    assert shown.x1 <= made.bbox.x1
    assert panel.height / made.dpi > 1.6


def test_the_users_own_settings_change_nothing() -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "axes.grid": False}), style.look():
        assert (matplotlib.rcParams["font.size"], matplotlib.rcParams["axes.grid"]) == (7, True)


def test_every_colour_reads_on_white_and_on_dark_paper() -> None:
    for colour in (style.INK, style.GREY, *style.COLOURS):
        assert min(contrast(colour, paper) for paper in ("#ffffff", "#14171b")) > (4 if colour == style.INK else 3)


def contrast(one: str, other: str) -> float:
    """The ratio of relative luminances of WCAG 2.2."""
    dark, light = sorted(luminance(colour) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in to_rgb(colour)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
