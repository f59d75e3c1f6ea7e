"""report.html in a real headless Chromium: what a reader with a mouse, a phone, a keyboard or a screen reader does."""

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from made import make_run

from lvm_bench.cli import main
from lvm_bench.report.page import render, watch
from lvm_bench.report.tables.build import build_table
from lvm_bench.runs.comparable import Remarks
from lvm_bench.runs.gather import Gathered
from lvm_bench.runs.layout import site_folder
from lvm_bench.runs.lease import Leases
from lvm_bench.runs.record import Run
from lvm_bench.runs.suite_record import About

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install '.[test]')")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
expect = playwright.expect
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)")

Open = Callable[..., Any]
OPEN_ALL = "for (const details of document.querySelectorAll('details')) details.open = true"
# A watched page asks five times as often.
SOON = "{ const later = setTimeout; window.setTimeout = (action, wait) => later(action, wait / 5); }"
FIRST = "#table\\/headlines table"  # of CIFAR-10, then of MNIST
TALLEST = 6000  # pixels of a page on a desktop before anything is unfolded


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, drawing: Callable[..., AbstractContextManager[None]]) -> Path:
    """The page of two data sets, three methods with two seeds each, a failed run and a control."""
    suite = tmp_path_factory.mktemp("results") / "small"
    for dataset in ("mnist", "cifar10"):
        for place, method in enumerate(("vae", "aae", "avae")):
            for seed in (0, 1):
                scores = {f"frechet.{kind}@classifier": (10.0 - place) * (1 + seed / 10) for kind in ("recon", "fake")}
                plan = {"description": "made up", "order": place, "seeds": [0, 1]}
                make_run(suite, dataset, method, seed, scores | {"mse.heldout": 1.0 + place}, plan=plan)
        make_run(suite, dataset, "real-images", 0, {"frechet.fake@classifier": 0.5})
    make_run(suite, "mnist", "my-" + "very-" * 8 + "long-method", 0, status="failed", reason="the loss became NaN " * 9)
    (suite / "NOTE.md").write_text("# What stands out\n\nThe AVAE leads [the Fréchet distances](tables/frechet.md).\n")
    with drawing():
        result = CliRunner().invoke(main, ["report", "--results", str(suite.parent)], catch_exceptions=False)
    assert result.exit_code == 0
    return site_folder(suite) / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # As root, which CI may be, Chromium starts without its sandbox alone.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any, report: Path) -> Iterator[Open]:
    """`visit(color_scheme="dark")`: the page in a fresh context, which must neither complain nor ask for anything."""
    contexts, complaints = [], []

    def go(fragment: str = "", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: complaints.append(asked.url) if not _is_own(asked.url, report) else None)
        page.goto(report.as_uri() + fragment)
        return page

    yield go
    for context in contexts:
        context.close()
    assert complaints == []


def _is_own(url: str, report: Path) -> bool:
    return url.startswith("data:") or url.split("#")[0] == report.as_uri()


def _methods(page: Any) -> list[str]:
    """The methods of the first table, as they stand, without the hidden ones."""
    rows = page.locator(f"{FIRST} >> nth=0 >> tbody >> nth=0 >> tr:visible >> th")
    return rows.all_inner_texts()


def test_what_one_came_for_stands_first_and_the_rest_unfolds(visit: Open) -> None:
    page = visit()
    told = page.locator("#takeaway")
    assert told.bounding_box()["y"] < 450
    row = told.locator(".leaders tr", has_text="FD of samples").first
    expect(row).to_contain_text("AVAE 8.40 ± 0.40")
    expect(row).to_contain_text("cannot be told from AAE, VAE")
    expect(told).to_contain_text("AVAE 1.00, the best of 3 methods over 4 scores")
    assert told.get_by_role("button", name="Zoom: Average ranks").is_visible()
    expect(told).to_contain_text("seed 0 failed: the loss became NaN")
    assert page.evaluate("document.documentElement.scrollHeight") <= TALLEST
    table = page.locator("[id='table/reconstruction']")
    assert table.is_hidden()
    page.get_by_role("link", name="Reconstruction", exact=True).click()
    expect(table).to_be_visible()
    expect(table).to_be_focused()
    page.locator("summary", has_text="Note").click()
    assert page.get_by_role("heading", name="What stands out").is_visible()
    page.get_by_role("link", name="the Fréchet distances").click()
    expect(page.locator("[id='table/frechet']")).to_be_visible()


def test_of_forty_methods_a_table_stands_in_the_place_of_the_diagram(browser: Any, tmp_path: Path) -> None:
    methods = [f"method-{i}" for i in range(40)]
    values = [(name, of, seed) for name in methods for of in ("recon", "fake") for seed in (0, 1)]
    scores: dict[tuple[str, str, int], dict[str, float]] = {}
    for place, (name, of, seed) in enumerate(values):
        scores.setdefault(("mnist", name, seed), {})[f"frechet.{of}@classifier"] = 1.0 + place + 3 * seed
    about = About("many", extractor="classifier", methods=methods, seeds=[0, 1], datasets={"mnist": {}})
    runs = [Run(*key, "done") for key in scores]
    found = Gathered(runs, scores, {}, {}, about, scores, Remarks())
    tables = [build_table("frechet", found.frame, about)]
    (tmp_path / "page.html").write_text(render.render("many", tables, found, [], []))
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto((tmp_path / "page.html").as_uri())
    expect(page.locator("#takeaway")).to_contain_text("40 methods are too many for the diagram of ranks: a table is in")
    assert page.locator(".ranked tbody tr").count() == 40
    assert page.evaluate("document.documentElement.scrollHeight") <= TALLEST
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.context.close()


def test_the_leaderboard_leads_to_the_page_and_can_be_read_by_everybody(browser: Any, report: Path) -> None:
    page = browser.new_context(viewport={"width": 360, "height": 740}).new_page()
    page.goto((report.parent.parent / "index.html").as_uri())
    expect(page.locator(".overview")).to_contain_text("AVAE 1.00 of 3")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    for scheme, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        page.emulate_media(color_scheme=scheme)
        found = axe.Axe().run(page, options=rules)
        assert found.violations_count == 0, found.generate_report()
    page.locator(".card").get_by_role("link", name="FD of samples").first.click()
    assert page.url == f"{report.as_uri()}#table/frechet"
    expect(page.locator("[id='table/frechet']")).to_be_visible()
    page.context.close()


def test_a_heading_sorts_best_first_then_last_then_as_given(visit: Open) -> None:
    page = visit()
    given = _methods(page)
    assert given == ["VAE", "AAE", "AVAE"]
    heading = page.locator(f"{FIRST} >> nth=0 >> thead th >> nth=1")
    heading.locator("button").click()
    assert _methods(page) == ["AVAE", "AAE", "VAE"]
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.locator("button").click()
    assert _methods(page) == ["VAE", "AAE", "AVAE"]
    assert heading.get_attribute("aria-sort") == "descending"
    page.locator(f"{FIRST} >> nth=0 >> thead button >> nth=0").click()
    assert _methods(page) == sorted(given, key=str.lower) != given
    assert page.locator(f"{FIRST} >> nth=0 >> [aria-sort]").count() == 1


def test_filters_by_data_set_method_and_table(visit: Open) -> None:
    page = visit()
    panels = page.locator(".panel:visible caption")
    assert panels.count() == 2
    page.get_by_role("button", name="Unfold tables").click()
    expect(panels).to_have_count(8)
    page.locator("[id='filter/dataset']").select_option(label="CIFAR-10")
    assert all(text.startswith("CIFAR-10") for text in panels.all_inner_texts())
    page.locator("[id='filter/table']").select_option(label="Reconstruction")
    assert page.locator(".table:visible").count() == 1
    page.locator("[id='filter/method']").fill("aae")
    assert page.locator(".panel:visible tbody tr:visible").count() == 1
    assert "of" in page.locator("output").inner_text()
    page.get_by_role("button", name="Show all").click()
    expect(panels).to_have_count(8)
    assert page.locator("output").inner_text() == ""


def test_hover_shows_the_seeds_behind_a_mean(visit: Open) -> None:
    page = visit()
    page.locator(f"{FIRST} >> nth=0 >> td a >> nth=0").hover()
    expect(page.locator("#tip")).to_contain_text("seed 0: 10\nseed 1: 11\nagainst the best: p ", use_inner_text=True)
    page.keyboard.press("Escape")
    expect(page.locator("#tip")).to_be_hidden()


def test_a_first_tap_shows_the_seeds_and_a_second_leads_to_the_runs(visit: Open) -> None:
    page = visit(has_touch=True, viewport={"width": 360, "height": 740})
    cell = page.locator(f"{FIRST} >> nth=0 >> td a >> nth=0")
    cell.tap()
    expect(page.locator("#tip")).to_contain_text("seed 0: 10\nseed 1: 11\nagainst the best: p ", use_inner_text=True)
    assert "#" not in page.url
    cell.tap()
    expect(page).to_have_url(re.compile("#runs/cifar10/vae$"))


@pytest.mark.parametrize("way", ["history", "button"])
def test_from_a_number_to_its_run_and_back(visit: Open, way: str) -> None:
    page = visit()
    cell = page.locator(f"{FIRST} >> nth=0 >> td a >> nth=0")
    cell.click()
    expect(page).to_have_url(re.compile("#runs/cifar10/vae$"))
    expect(page.locator("[id='runs/cifar10/vae']")).to_be_focused()
    told = "CIFAR-10 (l = 16), VAE, FD of reconstructions ↓: 10.50 ± 0.50 (seed 0: 10, seed 1: 11, against the best: p "
    expect(page.locator(".from")).to_contain_text(told)
    run = page.locator("[id='run/cifar10/vae/1']")
    assert run.is_hidden()
    page.locator(".group[open] .run summary >> nth=1").click()
    expect(run.locator("svg")).to_be_visible()
    assert run.locator("svg").bounding_box()["height"] > 50
    assert "lvm-bench run --suite small --methods vae --datasets cifar10 --seeds 1" in run.inner_text()
    assert run.locator("img").count() == 4
    assert run.locator("img").evaluate_all(
        "images => images.every((image) => image.complete && image.naturalWidth > 60)"
    )
    page.locator(".group[open] .settings summary").click()
    assert "batch_size" in page.locator(".group[open] .settings").inner_text()
    if way == "history":
        page.go_back()
    else:
        page.get_by_role("button", name="Back to the table").click()
    expect(cell).to_be_focused()
    expect(page.locator(".from")).to_be_hidden()


def test_the_address_of_a_run_opens_it(visit: Open) -> None:
    page = visit("#run/mnist/avae/1")
    expect(page.locator("[id='run/mnist/avae/1'] svg")).to_be_visible()


def test_copies_a_table(visit: Open, report: Path) -> None:
    page = visit("#table/frechet", permissions=["clipboard-read", "clipboard-write"])
    for kind, ending in (("LaTeX", "tex"), ("CSV", "csv")):
        page.get_by_role("button", name=f"Copy {kind} of Fréchet distance").click()
        expect(page.get_by_role("status").last).to_have_text(f"Copied {kind} of Fréchet distance.")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == (report.parent / "tables" / f"frechet.{ending}").read_text()


def test_a_figure_zooms_and_gives_the_focus_back(visit: Open) -> None:
    page = visit()
    button = page.locator(".picture button >> nth=0")
    button.click()
    dialog = page.get_by_role("dialog")
    fitted = dialog.locator("img").bounding_box()["width"]
    assert fitted > button.bounding_box()["width"]
    page.get_by_role("button", name="Full size").click()
    natural = dialog.locator("img").evaluate("image => image.naturalWidth")
    assert dialog.locator("img").bounding_box()["width"] == natural
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()


def _luminance(page: Any, selector: str, part: str) -> float:
    colour = page.locator(selector).first.evaluate(f"element => getComputedStyle(element).{part}")
    return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) / 3 / 255


def test_light_and_dark_follow_the_system(visit: Open) -> None:
    page = visit()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        paper, ink = _luminance(page, "body", "backgroundColor"), _luminance(page, "body", "color")
        assert (paper < 0.2 < 0.8 < ink) if scheme == "dark" else (ink < 0.2 < 0.8 < paper)


def test_a_phone_scrolls_down_alone(visit: Open) -> None:
    page = visit(viewport={"width": 360, "height": 740})
    for opens in (False, True):
        if opens:
            page.evaluate(OPEN_ALL)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert page.evaluate("[...document.querySelectorAll('.scroll')].some(box => box.scrollWidth > box.clientWidth)")


def test_with_the_keyboard_alone(visit: Open) -> None:
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    passed: list[str] = []
    while not passed or passed[-1] != "A":
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        inside = page.evaluate("document.activeElement.closest('.panel') !== null")
        passed.append(page.evaluate("document.activeElement.tagName") if inside else "")
        assert len(passed) < 40
    assert "BUTTON" in passed
    expect(page.locator("#tip")).to_contain_text("seed 0: 10\nseed 1: 11\nagainst the best: p ", use_inner_text=True)
    page.keyboard.press("Enter")
    expect(page.locator("[id='runs/cifar10/vae']")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator(".group[open] .run summary >> nth=0")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("[id='run/cifar10/vae/0'] svg")).to_be_visible()


def test_without_javascript_it_can_be_read(visit: Open) -> None:
    page = visit("#runs/cifar10/vae", java_script_enabled=False)
    assert page.locator("button:visible, form:visible, dialog:visible").count() == 0
    assert "10.50 ± 0.50" in page.locator("main").inner_text()
    page.locator(".group summary >> nth=0").scroll_into_view_if_needed()
    assert page.locator(".group[open] .runs").count() == 1
    page.locator(".group[open] .run summary >> nth=0").click()
    expect(page.locator(".group[open] svg >> nth=0")).to_be_visible()
    expect(page.locator(".picture img >> nth=0")).to_be_visible()


def test_an_accessibility_audit_finds_nothing(visit: Open) -> None:
    page = visit()
    page.evaluate(OPEN_ALL)
    for scheme, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        page.emulate_media(color_scheme=scheme)
        found = axe.Axe().run(page, options=rules)
        assert found.violations_count == 0, found.generate_report()


def test_the_policy_forbids_requests_and_foreign_scripts(browser: Any, report: Path) -> None:
    page = browser.new_context().new_page()
    page.goto(report.as_uri())
    forbidden = page.evaluate(
        """() => new Promise((done) => {
          const found = [];
          addEventListener("securitypolicyviolation", (event) => {
            found.push(event.effectiveDirective);
            if (found.length === 3) done(found.sort());
          });
          fetch("http://127.0.0.1:9/").catch(() => {});
          document.body.append(Object.assign(new Image(), { src: "http://127.0.0.1:9/x.png" }));
          document.body.append(Object.assign(document.createElement("script"), { textContent: "alert(1)" }));
        })"""
    )
    assert forbidden == ["connect-src", "img-src", "script-src-elem"]
    page.context.close()


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A suite with one run, and the address at which it is watched."""
    monkeypatch.setattr("lvm_bench.report.page.watch.FRESH", 0.0)
    make_run(tmp_path / "small", "mnist", "vae", 0, {"mse.heldout": 0.5})
    with watch.Server("127.0.0.1", 0, watch.Watcher(tmp_path, None, None, "std")) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield tmp_path / "small", f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_a_watched_page_brings_itself_up_to_date_unless_it_is_being_read(
    browser: Any, watched: tuple[Path, str]
) -> None:
    suite, address = watched
    page = browser.new_context(viewport={"width": 360, "height": 740}).new_page()
    page.add_init_script(SOON)
    page.set_default_timeout(20_000)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: complaints.append(asked.url) if not asked.url.startswith(address) else None)
    page.goto(address)
    assert page.url == f"{address}small/"
    with Leases().take(make_run(suite, "mnist", "aae", 0, status="running")):
        expect(page.locator("#live .caption")).to_have_text("1 done, 1 at work", timeout=20_000)
        found = axe.Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") == 360
    make_run(suite, "mnist", "aae", 0, {"mse.heldout": 0.25})
    page.locator("[id='run/mnist/aae/0']").wait_for(state="attached")
    page.locator("#tables summary >> nth=0").click()
    make_run(suite, "mnist", "avae", 0, {"mse.heldout": 0.125})
    page.get_by_role("button", name="Show the new scores").click()
    page.locator("[id='run/mnist/avae/0']").wait_for(state="attached")
    assert [text for text in complaints if not text.startswith("data:")] == []
    page.context.close()


def test_a_watched_page_that_nobody_serves_any_more_says_so(browser: Any, watched: tuple[Path, str]) -> None:
    page = browser.new_context().new_page()
    page.add_init_script(SOON)
    page.goto(watched[1])
    page.route("**/live", lambda route: route.abort())
    expect(page.locator("#live .caption")).to_contain_text("nobody serves this page any more", timeout=20_000)
    page.context.close()
