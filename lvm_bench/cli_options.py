"""What every command shares: how errors are told, options that hold names, and how much is told while work goes on."""

import os
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from lvm_bench import output
from lvm_bench.errors import RunError, UserError
from lvm_bench.output import Volume
from lvm_bench.text import printable

COMPLETE = "_LVM_BENCH_COMPLETE"  # what a shell sets to complete a word


class Command(click.Command):
    """A command whose UserError is printed as sentences: exit code 2, and 1 for a RunError."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (UserError, RunError) as error:
            told = printable(str(error))
            click.echo(f"Error: {told}" if "\n" not in told else f"Errors:\n{told}", err=True)
            ctx.exit(2 if isinstance(error, UserError) else 1)
        except PermissionError as error:
            click.echo(f"Error: {printable(str(error.filename))}: {error.strerror}. Change its permissions.", err=True)
            ctx.exit(1)


class Group(click.Group):
    """A group whose commands are Commands."""

    command_class = Command

    def main(self, *arguments: Any, **named: Any) -> Any:
        """The whole command. To a shell that completes a word it answers in bytes, which no Output takes."""
        with nullcontext() if os.environ.get(COMPLETE) else output.guarded():
            return super().main(*arguments, **{"complete_var": COMPLETE, **named})


Group.group_class = Group


class Jobs(click.IntRange):
    """A number of runs at a time from 1, or `auto`, which is None."""

    name = "N|auto"

    def __init__(self) -> None:
        super().__init__(min=1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return None if value == "auto" else super().convert(value, param, ctx)


class Name(click.ParamType):
    """A name of one `kind` of what `lvm-bench list` lists, or of a table, which a shell completes."""

    name = "NAME"

    def __init__(self, kind: str):
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that begin as the last one of a list does."""
        before, comma, last = incomplete.rpartition(",")
        known = names_of(self.kind, ctx.params.get("config"), ctx.params.get("plugins") or ())
        return [CompletionItem(f"{before}{comma}{name}") for name in known if name.startswith(last)]


class Names(Name):
    """Names, or numbers, between commas."""

    def __init__(self, kind: str, each: click.ParamType = click.STRING):
        super().__init__(kind)
        self.each = each

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        names = [name.strip() for name in str(value).split(",") if name.strip()]
        if not names:
            self.fail(f"{value!r} names nothing.", param, ctx)
        return [self.each.convert(name, param, ctx) for name in names]


def names_option(option: str, kind: str, help: str, each: click.ParamType = click.STRING, **more: Any) -> Any:
    """An option that may be repeated and may hold several names between commas: a tuple of each name once."""

    def joined(_: click.Context, __: click.Parameter, given: Iterable[list[Any]]) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(name for names in given for name in names))

    metavar = f"{'NUMBER' if each is click.INT else 'NAME'},..."
    return click.option(
        option, multiple=True, type=Names(kind, each), callback=joined, metavar=metavar, help=help, **more
    )


def names_of(kind: str, config: Path | None, plugins: tuple[Path, ...]) -> list[str]:
    """The names of a kind, as `lvm-bench list` has them; [] where they cannot be read."""
    from lvm_bench.suites import catalogue

    if kind == "tables":
        from lvm_bench.report.tables.compose import BANDWIDTH, NAMES

        return [*NAMES, BANDWIDTH]
    try:
        return [row[0] for row in catalogue.rows(kind, config, plugins)] if kind else []
    except UserError:
        return []


def volume_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options --quiet and --verbose, which a command gets as its `volume`."""

    @click.option("-q", "--quiet", is_flag=True, help="Print results, warnings and errors alone.")
    @click.option("-v", "--verbose", is_flag=True, help="Print progress as lines that stay, with details.")
    @wraps(command)
    def with_volume(*, quiet: bool, verbose: bool, **options: Any) -> Any:
        if quiet and verbose:
            raise UserError("--quiet --verbose: give one of them.")
        volume = Volume.QUIET if quiet else Volume.VERBOSE if verbose else Volume.NORMAL
        return command(volume=volume, **options)

    return with_volume


def jobs_option(meaning: str) -> Any:
    """The option --jobs, which means so."""
    return click.option(
        "--jobs", type=Jobs(), default="auto", show_default=True, envvar="LVM_BENCH_JOBS", help=meaning
    )  # fmt: skip


def _of_data(**more: Any) -> Any:
    return click.option(
        "--data", "data_folder", type=click.Path(path_type=Path),
        help="Folder of the data sets [default: $LVM_BENCH_DATA, else the user's cache folder].", **more,
    )  # fmt: skip


def _no_data_set(_: click.Context, __: click.Parameter, folder: Path | None) -> Path | None:
    """The folder as it was given. An error for the name of a data set, which `score` and `check` call --data."""
    if folder is not None and not folder.exists() and str(folder) in names_of("datasets", None, ()):
        raise click.BadParameter(f"{folder} is a data set, and this is the folder of all. Give --datasets {folder}.")
    return folder


config_option = click.option(
    "--config", type=click.Path(path_type=Path), help="A bench.toml [default: ./bench.toml, else the packaged one]."
)
results_option = click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True,
    help="Folder that holds one folder per suite.",
)  # fmt: skip
data_option = _of_data()
plugin_option = click.option(
    "--plugin", "plugins", multiple=True, type=click.Path(path_type=Path),
    help="A file that registers a method, data set, network, metric or extractor (repeatable).",
)  # fmt: skip


def chosen_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which runs a suite has, with which settings, where their data are and their results go."""
    for option in reversed(_CHOSEN):
        command = option(command)
    return command


_CHOSEN = (
    names_option("--methods", "methods", "Only these methods (repeatable)."),
    names_option("--datasets", "datasets", "Only these data sets (repeatable)."),
    names_option("--seeds", "", "Only these seeds, the numbers themselves (repeatable).", click.INT),
    plugin_option,
    results_option,
    _of_data(callback=_no_data_set),
    config_option,
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
    click.option(
        "--extractor", type=Name("extractors"),
        help="Feature space of the distances between images, see `lvm-bench list extractors`.",
    ),
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a setting for this suite."),
    click.option("--time-budget", metavar="TIME", help="End within this time, such as 3h55m, with exit code 75."),
    click.option("--retry-failed", is_flag=True, help="Run just the runs that failed, once more."),
    jobs_option("Runs at a time: a number, or auto for as many as this machine's cores or GPUs have room for."),
    click.option("--address", metavar="HOST:PORT", help="Work on the nodes of this Ray cluster."),
)  # fmt: skip
