"""The command line. No logic, and no torch before it is needed.

It has more than 400 lines, since it holds the options and the help of every command.
"""

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from lvm_bench import __version__, cli_score
from lvm_bench.cli_options import (
    Group,
    Name,
    chosen_options,
    config_option,
    data_option,
    jobs_option,
    names_option,
    plugin_option,
    results_option,
    volume_options,
)
from lvm_bench.errors import UserError, did_you_mean
from lvm_bench.output import Volume
from lvm_bench.text import columns, counted, listed, printable


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lvm-bench")
def main() -> None:
    """The benchmark of latent generative models: train, measure and report under identical conditions.

    \b
    Example:
      lvm-bench run --suite quick
      lvm-bench report
    """


@main.command()
@click.option(
    "--suite", type=Name("suites"), help="A suite of bench.toml (see `lvm-bench list suites`) [with --images: own]."
)
@click.option(
    "--images", type=click.Path(path_type=Path),
    help="Run the suite on images of your own: a folder, or an .npz file. Network and settings follow from their size.",
)  # fmt: skip
@click.option("--test-images", type=click.Path(path_type=Path), help="Those to test on [default: a sixth of --images].")
@chosen_options
@click.option("--missing", is_flag=True, help="Leave out runs whose scores are committed with the same settings.")
@click.option(
    "--resample", type=click.IntRange(min=0, max=1000), default=0, metavar="R",
    help="Measure each trained run R more times with other random draws: how much of the spread is sampling?",
)  # fmt: skip
@click.option(
    "--dry-run", "is_dry", is_flag=True, help="Print the jobs, their settings and what they need here; run nothing."
)
@volume_options
def run(
    suite: str | None,
    images: Path | None,
    test_images: Path | None,
    results: Path,
    data_folder: Path | None,
    config: Path | None,
    device: str,
    time_budget: str | None,
    retry_failed: bool,
    missing: bool,
    resample: int,
    jobs: int | None,
    address: str | None,
    is_dry: bool,
    volume: Volume,
    **chosen: Any,
) -> None:
    """Train and measure every run of a suite; the same command again goes on where it stopped.

    Exit codes: 0 all runs are done, 1 some failed (with --dry-run: would fail), 2 a mistake in the command, 75 stopped
    with everything saved (give the same command again) by --time-budget, SIGTERM, SIGUSR1, SIGUSR2 or SIGHUP, 130
    stopped by Ctrl-C likewise.

    \b
    Example:
      lvm-bench run --suite mnist-small --methods avae --seeds 0 --set epochs=3 --results trial
      lvm-bench run --images photos/
    """
    from lvm_bench.data.files import data_root
    from lvm_bench.execution.stopping import Stop, seconds_left
    from lvm_bench.suites import bench_toml, labels
    from lvm_bench.suites.resolve import resolve

    _check_one_place(jobs, address)
    stop = Stop(None if time_budget is None else seconds_left(time_budget))
    with nullcontext() if is_dry else stop.signals():  # from here on: importing torch takes seconds
        file = bench_toml.config_file(config)
        if images:
            from lvm_bench.execution import own_images

            suite = own_images.SUITE if suite is None else suite
            chosen |= own_images.chosen(images, test_images, file, chosen["datasets"])
        elif test_images or suite is None:
            raise UserError("--test-images: give --images too." if test_images else "Give --suite, or --images.")
        found = resolve(file, suite, **chosen)
        _note(_loaded(found.loaded), volume)
        from lvm_bench.execution.command import Options, changed_settings, dry_run, run_suite

        with labels.using(labels.here(config, chosen["plugins"])):
            if changed := changed_settings(found):
                _note(f"{changed}.", volume)
        given = Options(results, data_root(data_folder), device, retry_failed, resample, missing, jobs, address, volume)
        sys.exit(dry_run(found, given) if is_dry else run_suite(found, given, stop))


@main.command()
@click.option(
    "--suite", type=Name("suites"), required=True, help="A suite of bench.toml (see `lvm-bench list suites`)."
)
@click.option("--trials", type=int, required=True, help="Draws of each method; the first has its own settings.")
@click.option(
    "--by", metavar="KEY", help="Choose by this score [default: frechet.fake, else sse.heldout, else mse.heldout]."
)
@chosen_options
@volume_options
def tune(
    suite: str,
    trials: int,
    by: str | None,
    methods: tuple[str, ...],
    datasets: tuple[str, ...],
    seeds: tuple[int, ...],
    results: Path,
    data_folder: Path | None,
    config: Path | None,
    device: str,
    time_budget: str | None,
    retry_failed: bool,
    jobs: int | None,
    address: str | None,
    volume: Volume,
    **shared: Any,
) -> None:
    """Search the settings of a suite's methods, each with the same number of draws, and measure what was chosen.

    The draws come from the ranges in the tables [methods.NAME.tune] of bench.toml. They are trained in the suite
    SUITE-search with a seed of its own, and chosen by their score on the validation split. SUITE-tuned then trains the
    methods with their own settings and with the chosen ones, and measures them on the test split. The same command
    again goes on where it stopped. Exit codes as those of `run`; a trial that fails is no failure, it is the worst.

    \b
    Example:
      lvm-bench tune --suite quick --trials 8
      lvm-bench report --suite quick-tuned
    """
    from lvm_bench.data.files import data_root
    from lvm_bench.execution.stopping import Stop, seconds_left
    from lvm_bench.suites import bench_toml, labels
    from lvm_bench.suites.resolve import resolve

    _check_one_place(jobs, address)
    stop = Stop(None if time_budget is None else seconds_left(time_budget))
    with stop.signals(), labels.using(labels.here(config, shared["plugins"])):
        file = bench_toml.config_file(config)
        chosen = resolve(file, suite, methods=methods, datasets=datasets, seeds=seeds, **shared)
        whole = resolve(file, suite, **shared) if methods or datasets or seeds else chosen
        _note(_loaded(chosen.loaded), volume)
        from lvm_bench.execution.command import Options
        from lvm_bench.execution.tune import tune as search

        given = Options(results, data_root(data_folder), device, retry_failed, 0, False, jobs, address, volume)
        sys.exit(search(whole, chosen, trials, by, given, stop))


def _check_one_place(jobs: int | None, address: str | None) -> None:
    """UserError where runs are to be at work both here and on a cluster."""
    if jobs and jobs > 1 and address:
        raise UserError(
            f"--jobs {jobs} --address {address}: give one of them. A cluster runs as many as it has room for."
        )


@main.command()
@click.option("--suite", type=Name("suites"), help="Only this suite [default: every suite with results].")
@click.option("--full", is_flag=True, help="Print every table, and not what they say in short.")
@names_option(
    "--tables", "tables", "Make and print only these tables; `bandwidth` stands for Tables I and II (repeatable)."
)
@click.option(
    "--against", help="A published source to set beside each cell: avae-2024, evae-2025; else the suite's own."
)
@click.option(
    "--spread",
    type=click.Choice(["std", "ci95"]),
    default="std",
    show_default=True,
    help="Beside each mean: the population standard deviation, or a 95 % bootstrap interval over seeds.",
)
@jobs_option("Figures drawn at a time: a number, or auto for as many as this machine has cores.")
@click.option("--label", default="tab:", show_default=True, help="What the labels of the LaTeX tables begin with.")
@click.option("--titles", is_flag=True, help="Write the titles of figures into them; a paper's captions say more.")
@click.option("--watch", is_flag=True, help="Serve the page while runs go on, and bring it up to date; write nothing.")
@click.option("--host", help="With --watch, where to listen [default: 127.0.0.1, which this machine alone can reach].")
@click.option("--port", type=click.IntRange(0, 65535), help="With --watch, 0 for any that is free [default: 8642].")
@plugin_option
@results_option
@config_option
@volume_options
def report(
    suite: str | None,
    full: bool,
    tables: tuple[str, ...],
    against: str | None,
    spread: str,
    jobs: int | None,
    label: str,
    titles: bool,
    watch: bool,
    host: str | None,
    port: int | None,
    plugins: tuple[Path, ...],
    results: Path,
    config: Path | None,
    volume: Volume,
) -> None:
    """Write a suite's tables (CSV, LaTeX, Markdown), its figures and its page, and print what they say on one screen.

    \b
    Example:
      lvm-bench report --suite mnist-small
      lvm-bench report --suite mnist-small --against avae-2024 --tables frechet,kl
      lvm-bench report --suite mnist-small --watch
    """
    from lvm_bench.suites import labels

    if not watch and (host is not None or port is not None):
        raise UserError("--host and --port belong to --watch: give it too, or leave them out.")
    if full and tables:
        raise UserError("--full --tables: give one of them.")
    if watch and label != "tab:":
        raise UserError("--watch --label: LaTeX is written by `report` without --watch. Leave one of them out.")
    if watch and (tables or full):
        given = "--tables" if tables else "--full"
        raise UserError(f"--watch {given}: the page shows every table. Leave {given} out.")
    with labels.using(labels.here(config, plugins)):
        if watch:
            from lvm_bench.report.page import watch as watching

            watcher = watching.Watcher(results, suite, against, spread)
            watching.watch(watcher, host or watching.LOOPBACK, watching.PORT if port is None else port, click.echo)
            return
        from rich.console import Console

        from lvm_bench.report.figures import workers
        from lvm_bench.report.write import write_report as write_report

        with workers.at_work(jobs):
            code = write_report(results, suite, list(tables), against, spread, Console(), full, volume, label, titles)
        sys.exit(code)


main.command()(plugin_option(results_option(config_option(volume_options(cli_score.score)))))


@main.group(name="list")
def list_() -> None:
    """List methods, data sets, networks, metrics, extractors, ex-post samplers or suites, a line each, or the runs.

    \b
    Example:
      lvm-bench list methods
      lvm-bench list runs --suite mnist-small --state failed
    """


def _catalogue(what: str, meaning: str) -> None:
    @list_.command(name=what, help=f"List {meaning}: one line each.")
    @plugin_option
    @config_option
    def listing(plugins: tuple[Path, ...], config: Path | None) -> None:
        from lvm_bench.suites import catalogue

        for line in columns(catalogue.rows(what, config, plugins)):
            click.echo(printable(line))


for _what, _meaning in (
    ("methods", "the methods with their papers, and their variants"),
    ("datasets", "the data sets, and their variants"),
    ("networks", "the pairs of encoder and decoder"),
    ("metrics", "the metrics with their papers"),
    ("extractors", "the feature spaces of distances between images"),
    ("expost", "the ex-post samplers that a suite may name"),
    ("suites", "the suites of bench.toml"),
):
    _catalogue(_what, _meaning)


@list_.command()
@click.option("--suite", type=Name("suites"), help="Only this suite [default: every suite with results].")
@names_option("--state", "", "Only runs in these states (repeatable), such as failed.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of objects, for machines.")
@results_option
def runs(suite: str | None, state: tuple[str, ...], as_json: bool, results: Path) -> None:
    """List how far each run is: state, epoch, seconds, device, and the reason of a failure.

    running (somebody is at work), interrupted (nobody is), trained (waits for its scores), done, failed, declined,
    damaged, committed (its scores alone are here).

    \b
    Example:
      lvm-bench list runs --suite mnist-small --state running,interrupted
    """
    import json

    from lvm_bench.runs import listing

    for name in state:
        if name not in listing.STATES:
            raise UserError(f"Unknown state {name!r}.{did_you_mean(name, listing.STATES)}")
    damaged: list[str] = []
    found = listing.rows(results, suite, state, damaged.append)
    click.echo(json.dumps(found, indent=1) if as_json else "\n".join(listing.table(found)))
    if not as_json:
        click.echo(f"{listing.counted_states(found)}.", err=True)
    for text in damaged:
        click.echo(printable(text), err=True)
    sys.exit(1 if damaged else 0)


@main.command()
@click.option("--suite", type=Name("suites"), help="Only this suite [default: every suite with results].")
@results_option
def verify(suite: str | None, results: Path) -> None:
    """Read every file of a results folder anew and name those that are damaged, with what to do; changes nothing.

    Exit codes: 0 all is well, 1 something is not.

    \b
    Example:
      lvm-bench verify --suite mnist-small
    """
    from lvm_bench.runs.verify import verify as read_all

    found = read_all(results, suite)
    for text in found.problems:
        click.echo(printable(text))
    at_work = f" Passed over, as somebody is at work: {counted(found.at_work, 'folder')}." if found.at_work else ""
    read = f"{counted(found.runs, 'run')}, {counted(found.files, 'file')} read"
    problems = counted(len(found.problems), "problem") if found.problems else "no problems"
    click.echo(f"{read}: {problems}.{at_work}")
    sys.exit(1 if found.problems else 0)


@main.command()
@click.option("--suite", type=Name("suites"), required=True, help="The suite whose results are meant.")
@names_option("--methods", "methods", "These methods (repeatable).", required=True)
@results_option
def drop(suite: str, methods: tuple[str, ...], results: Path) -> None:
    """Remove the committed scores of a method from a suite, such as those of settings that are no longer used.

    The folders of runs stay: delete them to remove their scores too.

    \b
    Example:
      lvm-bench drop --suite mnist-small --methods vae
    """
    from lvm_bench.runs.drop import drop as remove

    damaged: list[str] = []
    for text in remove(results, suite, methods, damaged.append):
        click.echo(printable(text))
    for text in damaged:
        click.echo(printable(text), err=True)


@main.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--into", required=True, type=click.Path(path_type=Path), help="The folder of results to join them in.")
def merge(folders: tuple[Path, ...], into: Path) -> None:
    """Join folders of results, such as those of two machines: runs and committed scores, checked as `report` does.

    What stands in --into comes first, then the folders in their order. A run that does not fit those before it (other
    settings, conditions, data or code of its method), or is damaged or not finished, is left out and named.

    Exit codes: 0 all runs were joined, 1 some were left out.

    \b
    Example:
      lvm-bench merge results-of-a results-of-b --into results
    """
    from lvm_bench.runs.merge import merge as join

    told = join(folders, into)
    for text in (*told.warnings, *(f"Left out: {text}" for text in told.left_out)):
        click.echo(printable(text), err=True)
    click.echo(f"{counted(told.joined, 'run')} joined, {told.there} there already, {len(told.left_out)} left out.")
    click.echo(printable(f"Now type: lvm-bench report --results {into}"))
    sys.exit(1 if told.left_out else 0)


@main.group(name="data", invoke_without_command=True)
@data_option
@click.pass_context
def data_(context: click.Context, data_folder: Path | None) -> None:
    """List the data files: what is there, what is missing, sizes and licences; `fetch` downloads.

    \b
    Example:
      lvm-bench data
      lvm-bench data fetch mnist
    """
    if context.invoked_subcommand is None:
        _guarded(context, lambda: _print_inventory(data_folder))


@data_.command()
@click.argument("names", nargs=-1, required=True, type=Name("datasets"))
@data_option
@volume_options
@click.pass_context
def fetch(context: click.Context, names: tuple[str, ...], data_folder: Path | None, volume: Volume) -> None:
    """Download data sets (or weights, such as `inception`, `dinov2` and `lpips`) and verify their checksums.

    \b
    Example:
      lvm-bench data fetch mnist cifar10 inception
    """
    from lvm_bench.data import files

    _load_data_sets()
    root = files.data_root(data_folder or (context.parent.params.get("data_folder") if context.parent else None))
    for name in names:
        files.fetch(name, root, volume)
        click.echo(f"{name}: complete in {root}")


@main.command()
def init() -> None:
    """Write a commented bench.toml for images of your own into the working folder.

    \b
    Example:
      lvm-bench init
    """
    from lvm_bench.suites import own_file

    click.echo(f"{own_file.write()}: written. Change its paths, then type: lvm-bench run --suite mine", err=True)


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="A method's argument, or a setting of `run`."
)
@click.option("--network", type=Name("networks"), help="Check methods with this network, of FILES or registered.")
@click.option(
    "--data", "dataset", default="digits", show_default=True, type=Name("datasets"),
    help="Check methods at the shape and value range of this data set: with the digits enlarged to it, without a file; "
    "where only files tell the shape, with the data set's first images.",
)  # fmt: skip
def check(files: tuple[Path, ...], settings: tuple[str, ...], network: str | None, dataset: str) -> None:
    """Check that what a file registers keeps its contract: a minute of tests on small data for a method.

    A method has the settings that `lvm-bench run --suite quick` would give it on the data set, and is trained for
    three epochs. Large networks take long: give --set width=0.25.

    \b
    Example:
      lvm-bench check my_method.py
      lvm-bench check my_method.py --set pull=0.5 --network conv --data cifar10
    """
    from lvm_bench.execution.check import check_files

    given = (*settings, *([f"network={network}"] if network else []))
    sys.exit(check_files(files, lambda told: click.echo(printable(told)), dataset, given))


def _note(text: str, volume: Volume) -> None:
    """Say on standard error what --quiet leaves out."""
    if volume != Volume.QUIET:
        click.echo(printable(text), err=True)


def _loaded(files: Iterable[Path]) -> str:
    """Where methods and what else a suite names were loaded from, in one line: files of one folder are counted."""
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.parent, []).append(file)
    places = (
        _shown(own[0]) if len(own) == 1 else f"{_shown(folder)} ({len(own)} files)" for folder, own in folders.items()
    )
    return f"Methods loaded from {listed(places, 3)}."


def _shown(file: Path) -> str:
    """A path as short as it can be said."""
    relative = os.path.relpath(file)
    return str(file) if relative.startswith("..") else relative


def _guarded(context: click.Context, action: Callable[[], None]) -> None:
    """A group's own action, with a Command's treatment of errors."""
    try:
        action()
    except UserError as error:
        click.echo(f"Error: {printable(str(error))}", err=True)
        context.exit(2)


def _load_data_sets() -> None:
    """Load every data set that there is, so that its files are known."""
    from lvm_bench import registry
    from lvm_bench.suites import bench_toml
    from lvm_bench.suites.discover import extensions

    registry.load_all(extensions(bench_toml.config_file(None))["dataset"].values())


def _print_inventory(folder: Path | None) -> None:
    from lvm_bench.data import files

    _load_data_sets()
    root = files.data_root(folder)
    rows = [("DATA SET", "FILE", "STATE", "SIZE", "LICENCE"), *files.inventory(root)]
    click.echo(f"Data folder: {root}")
    for line in columns(rows):
        click.echo(line)
    click.echo("digits, sprites and scenes3d need no file; npz and folder read files of your own (see bench.toml).")
