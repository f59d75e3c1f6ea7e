"""Pages that follow from the registry, the docstrings, the command line and the committed results.

Each function returns the text of one page in MyST Markdown. `write` writes them all before Sphinx reads its sources, so
that no fact about a method, a metric, an option or a result is typed twice.
"""

import ast
import inspect
import json
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from lvm_bench import cli, registry
from lvm_bench import metrics as public
from lvm_bench.metrics.arrays import MetricInfo
from lvm_bench.metrics.asked import EVIDENCE, SETTINGS
from lvm_bench.registry import METHODS, METRICS, TABLES, Entry
from lvm_bench.report.figures import equilibrium
from lvm_bench.report.figures.files import Folder
from lvm_bench.runs import checksums
from lvm_bench.runs.gather import gather
from lvm_bench.suites import bench_toml, catalogue
from lvm_bench.suites.discover import extensions, keyword_only

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
REPORTED = ("frechet", "precision-recall", "kl", "entropy", "reconstruction", "latent", "factors", "disentanglement")
SYMBOLS = (
    "In the losses, R is the mean over a batch of the error of a reconstruction: the squared error (SSE), half of it, "
    "or the cross-entropy, as the setting `likelihood` says. KL is that of q(z|x) to N(0, I), summed over axes. z_p "
    "are draws from N(0, I), d is the number of values of an image, s² the variance of a posterior, E a mean over the "
    "batch, T or G what a second network adds. Names of arguments stand for their values."
)
AT_SCALE = ("A crowd on one folder", "Short jobs on three nodes", "Many runs")  # of results/faults.md
PAPER = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def write(folder: Path) -> None:
    """Write every generated page into a folder, which holds nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = {
        "methods": methods(),
        "metrics": metrics(),
        "lists": lists(),
        "commands": commands(),
        "asked": asked(),
        **{f"results/{suite}": result(suite, folder / "results") for suite in suites()},
        "results/ablations": moved(RESULTS / "ABLATIONS.md", folder / "results"),
        "results/faults": moved(RESULTS / "faults.md", folder / "results"),
        "at-scale": at_scale(),
        "results/published": moved(RESULTS / "published" / "README.md", folder / "results"),
        "benchmarks/index": "# Benchmarks\n\n```{toctree}\n:glob:\n\n[a-hj-z]*\n```\n",
        **{
            f"benchmarks/{file.stem.lower()}": moved(file, folder / "benchmarks")
            for file in (ROOT / "benchmarks").glob("*.md")
        },
    }
    for name, text in pages.items():
        file = folder / f"{name}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    _equilibrium(folder)


def _equilibrium(folder: Path) -> None:
    """Draw where training drives the codes, from the committed histories of `mnist-small`."""
    suite = RESULTS / "mnist-small"
    found = gather(suite, checksums.read(suite), lambda text: None)
    equilibrium.write(Folder(folder), found.about, found.runs, found.history)


# --- methods and metrics --------------------------------------------------------------------------------------


def methods() -> str:
    """Each method: its papers, what it minimises, its arguments, and the code of its losses."""
    entries = extensions(bench_toml.defaults_folder() / "bench.toml", installed=False)["method"]
    registry.load_all(entries.values())
    parts = [
        "# Methods",
        "Each section follows from the method's file in `baselines/`: its paper, what it does, the loss that is "
        "minimised, its arguments with their defaults, and the code of that loss. The comments in the code name each "
        "departure from the paper. A suite's table `settings` shows the values in use; all of them stand in "
        "[`bench.toml`](../../bench.toml).",
        SYMBOLS,
    ]
    for name, entry in sorted(entries.items(), key=lambda found: _label(found[1]).lower()):
        parts += _method(name, entry)
    return "\n\n".join(parts) + "\n"


def _method(name: str, entry: Entry) -> Iterator[str]:
    cls = METHODS[name]
    yield f"({_anchor('method', name)})=\n## {_label(entry)}"
    yield _prose(cls.__doc__)
    if formula := entry.options.get("formula"):
        yield f"**Minimised**\n\n```text\n{formula}\n```"
    if note := entry.options.get("note"):
        yield f"**Mind**: {_prose(note)}."
    told = ast.get_docstring(ast.parse(entry.file.read_text())) or ""
    yield "**Source**: " + _prose(told.partition("\n")[2].strip() or told)
    arguments = keyword_only(cls)
    if arguments:
        yield "**Arguments**: " + ", ".join(f"`{parameter}`" for parameter in arguments.values())
    facts = [f"name `{name}`", f"file [`{entry.file.name}`](../../baselines/{entry.file.name})"]
    facts += ["a Gaussian posterior or another one (two outputs per code)" if cls.heads == 2 else "deterministic codes"]
    facts += ["a second network, which is trained against the first"] if "adversary_losses" in vars(cls) else []
    yield f"**Facts**: {'; '.join(facts)}."
    yield f"```python\n{textwrap.dedent(inspect.getsource(cls.losses)).rstrip()}\n```"


def metrics() -> str:
    """Each metric: what it is, its direction, what it is measured of, the evidence that it takes, and its column."""
    entries = extensions(bench_toml.defaults_folder() / "bench.toml", installed=False)["metric"]
    registry.load_all(entries.values())
    groups: dict[str, list[str]] = {}
    for name, entry in entries.items():
        groups.setdefault(entry.file.name, []).append(name)
    parts = [
        "# Metrics",
        "Each section follows from the metric's function. A score is called `<metric>.<variant>`, with `@<extractor>` "
        "behind it where it is of features: `frechet.fake@classifier`. [What a variant and a parameter mean]"
        "(asked.md) stands on a page of its own. Every number is computed in float64 where that decides a digit.",
    ]
    for file, names in groups.items():
        told = ast.get_docstring(ast.parse(entries[names[0]].file.read_text())) or ""
        parts += [f"## {file.removesuffix('.py').replace('_', ' ').capitalize()}", _prose(told.partition("\n")[0])]
        for name in names:
            parts += _metric(name, entries[name])
    return "\n\n".join(parts) + "\n"


def _metric(name: str, entry: Entry) -> Iterator[str]:
    function = METRICS[name]
    info: MetricInfo = function.metric
    label = entry.options.get("label", "")
    yield f"({_anchor('metric', name)})=\n### `{name}`" + (f" ({_escaped(label)})" if label else "")
    yield _prose(function.__doc__)
    for each in _public_functions(function):
        yield f"`{each.__name__}`: {_prose(each.__doc__)}"
    better = {"none": "neither direction is better", "lower": "lower is better", "higher": "higher is better"}
    facts = [better[info.better], "measured of " + ", ".join(f"`{name}.{variant}`" for variant in info.of)]
    facts += [f"takes {', '.join(f'`{each}`' for each in inspect.signature(function).parameters)}"]
    facts += ["measured where a suite names it, because it is costly"] if info.costly else []
    facts += [f"images of at least {info.smallest} x {info.smallest} pixels"] if info.smallest > 1 else []
    facts += [f"version {info.version}"] if info.version > 1 else []
    told = "; ".join(facts)
    yield f"{told[0].upper()}{told[1:]}."


def _public_functions(function: Callable[..., object]) -> list[Callable[..., object]]:
    """The functions of `lvm_bench.metrics` that a metric's own function calls: their docstrings have the formula."""
    called = {node.id for node in ast.walk(ast.parse(inspect.getsource(function))) if isinstance(node, ast.Name)}
    found = [getattr(public, name) for name in public.__all__ if name in called]
    return [each for each in found if each is not function]


def asked() -> str:
    """What a metric's parameters mean, and of which variants they are."""
    rows = [
        f"| `{name}` | {_escaped(asked.meaning)} | {', '.join(f'`{variant}`' for variant in asked.of)} |"
        for name, asked in EVIDENCE.items()
    ]
    settings = [f"| `{name}` | {meaning} |" for name, meaning in SETTINGS.items()]
    return "\n".join(
        [
            "# What a metric may ask for",
            "",
            "The names of a metric's parameters say what it needs. A name that is in neither table is refused when "
            "the file is loaded, with the nearest valid name. Where a parameter has variants, the metric's `of` names "
            "some of them.",
            "",
            "| parameter | what it is | variants |\n|---|---|---|",
            *rows,
            "",
            "A metric may also ask for these settings of the table `[evaluate]`:",
            "",
            "| setting | what it is |\n|---|---|",
            *settings,
            "",
        ]
    )


# --- lists and commands ---------------------------------------------------------------------------------------


def lists() -> str:
    """What `lvm-bench list` prints: data sets, networks, feature spaces, ex-post samplers, suites."""
    titles = {
        "datasets": "Data sets",
        "networks": "Networks",
        "extractors": "Feature spaces",
        "expost": "Ex-post samplers",
        "suites": "Suites",
    }
    parts = ["# Data sets, networks, feature spaces, suites", "What `lvm-bench list` prints of each."]
    for what, title in titles.items():
        rows = catalogue.rows(what, None, ())
        body = [f"| `{name}` | {_escaped(' '.join(filter(None, rest)))} |" for name, *rest in rows]
        parts += [f"## {title}", "\n".join(["| name | what it is |", "|---|---|", *body])]
    return "\n\n".join(parts) + "\n"


def commands() -> str:
    """Each command with its help and its options, from the command line itself."""
    parts = ["# Commands", "What `lvm-bench COMMAND --help` prints."]
    for path, command in _commands(cli.main, ("lvm-bench",)):
        context = click.Context(command, info_name=" ".join(path), terminal_width=100, max_content_width=100)
        parts.append(f"## `{' '.join(path)}`\n\n```text\n{command.get_help(context)}\n```")
    return "\n\n".join(parts) + "\n"


def _commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from _commands(each, (*path, name))


# --- results --------------------------------------------------------------------------------------------------


def suites() -> list[str]:
    """The suites whose scores are committed."""
    return sorted(file.parent.name for file in RESULTS.glob("*/scores.csv"))


def result(suite: str, page: Path) -> str:
    """A suite's note, its tables and its pictures, as they are committed."""
    folder = RESULTS / suite
    described = bench_toml.suite_names(bench_toml.config_file(None)).get(suite, "")
    note = folder / "NOTE.md"
    parts = [f"# Results: `{suite}`", f"{_escaped(described)}."]
    if note.is_file():
        text = note.read_text().partition("\n")[2].strip()
        parts += ["## What stands out", linked(text, folder, page)]
    parts.append("## Tables")
    tables = {file.stem: file for file in sorted((folder / "tables").glob("*.md"))}
    for name in [*(name for name in REPORTED if name in tables), *(name for name in tables if name not in REPORTED)]:
        parts.append(f"### {TABLES.get(name, name.replace('-', ' ').capitalize())}")
        parts.append(linked(tables[name].read_text().strip(), folder / "tables", page))
    captions = json.loads((folder / "figures" / "captions.json").read_text())
    captions.pop("seal", None)
    parts.append("## Figures")
    for name, told in captions.items():
        parts.append(f"![{_escaped(told['title'])}](../../../results/{suite}/figures/{name})")
        parts.append(f"{_escaped(told['title'])}. {_escaped(told['text'])}")
    return "\n\n".join(parts) + "\n"


def at_scale() -> str:
    """The sections of results/faults.md on many runners, nodes and runs; a missing one is said to be missing."""
    parts = (RESULTS / "faults.md").read_text().split("\n## ")[1:]
    found = {title: text.strip() for title, _, text in (part.partition("\n") for part in parts)}
    return "\n\n".join(f"### {title}\n\n{found.get(title, 'Not tried yet.')}" for title in AT_SCALE) + "\n"


def moved(file: Path, page: Path) -> str:
    """A Markdown file from elsewhere as a page."""
    return linked(file.read_text(), file.parent, page)


def linked(text: str, folder: Path, page: Path) -> str:
    """Markdown of another folder whose links lead, from a page's folder, to where they led before."""

    def leading(found: re.Match[str]) -> str:
        target, hash_, anchor = found[2].partition("#")
        if not target or "://" in target:
            return found[0]
        file = (folder / target).resolve()
        inside = file.relative_to(RESULTS).parts if file.is_relative_to(RESULTS) else ()
        if inside == ("ABLATIONS.md",):
            target = "ablations.md"
        elif inside == ("faults.md",):
            target = "faults.md"
        elif inside and (RESULTS / inside[0] / "scores.csv").is_file() and file.suffix in ("", ".md"):
            target = f"{inside[0]}.md"
        elif file.parent == folder == ROOT / "benchmarks" and file.suffix == ".md":
            target = f"{file.stem.lower()}.md"
        else:
            target = "/".join([".."] * len(page.relative_to(ROOT).parts)) + f"/{file.relative_to(ROOT)}"
        return f"{found[1]}({target}{hash_ if anchor else ''}{anchor})"

    return re.sub(r"(\[[^\]]*\])\(([^)\s]+)\)", leading, text)


# --- words ----------------------------------------------------------------------------------------------------


def _label(entry: Entry) -> str:
    return entry.options.get("label", "") or entry.name


def _anchor(kind: str, name: str) -> str:
    return f"{kind}-{name}"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([*_|<\\~^\[\]])", r"\\\1", text)


def _prose(text: str | None) -> str:
    """A docstring as Markdown: paragraphs stay, code stays code, all other marks are shown, papers are links."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(_line(" ".join(paragraph.split("\n"))) for paragraph in paragraphs)


def _line(text: str) -> str:
    parts = re.split(r"(`[^`]*`)", text)
    shown = [part if part.startswith("`") else _escaped(part) for part in parts]
    return PAPER.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", "".join(shown))
