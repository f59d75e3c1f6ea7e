"""The options and the help of `lvm-bench score`, which measures what exists."""

import sys
from pathlib import Path
from typing import Any

import click

from lvm_bench.cli_options import Name, names_option
from lvm_bench.output import Steps, Volume
from lvm_bench.text import printable

_PATH = click.Path(path_type=Path)

_OPTIONS = (
    click.option("--real", type=_PATH, help="Real images: a folder, an .npz file, or statistics (mu, sigma) of them."),
    click.option("--fake", type=_PATH, help="Samples: a folder, an .npz file, or statistics."),
    click.option("--recon", type=_PATH, help="Reconstructions of the real images, in the same order."),
    click.option("--size", type=int, metavar="PIXELS", help="Resize the centre squares of all images (LANCZOS)."),
    click.option("--codes", type=_PATH, help="Codes: an .npy file of an array [n l]."),
    click.option("--prior", type=click.Choice(["normal"]), help="The prior of the codes: N(0, I)."),
    click.option("--factors", type=_PATH, help="Ground-truth factors of the codes: an .npy file of integers [n k]."),
    click.option("--model", metavar="MODEL", help="FILE.py:NAME, pythae:FOLDER, diffusers:FOLDER or run:FOLDER."),
    click.option("--data", type=Name("datasets"), help="The data set that a model is measured on."),
    click.option("--images", type=_PATH, help="Or images of your own: a folder, or an .npz file."),
    click.option("--as", "row", metavar="NAME", help="With --suite: the name of the model's row."),
    click.option(
        "--suite", type=Name("suites"), help="Make the model a row of this suite's tables, measured as its methods are."
    ),
    names_option("--extractor", "extractors", "Feature spaces (repeatable) [default: inception]."),
    names_option("--metrics", "metrics", "Only these (repeatable); costly ones when named [default: all]."),
    click.option("--json", "out", type=_PATH, help="Write scores and protocol to this file, with all digits."),
    click.option(
        "--against", multiple=True, type=_PATH, help="Set the scores of such a file beside them (repeatable)."
    ),
    click.option(
        "--write-statistics", type=_PATH, help="Write mu and sigma of the real images' features to this .npz."
    ),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
)


def score(
    out: Path | None,
    against: tuple[Path, ...],
    config: Path | None,
    plugins: tuple[Path, ...],
    volume: Volume,
    **options: Any,
) -> None:
    """Measure what exists: image sets or codes on disk, or a model; the protocol stands beside the numbers.

    Metrics whose evidence is not given are left out. Scores of other protocols are not
    compared: --against refuses them and says what differs. With --as and --suite a model becomes a row of a suite's
    tables: `report` shows it, and says that it was not trained here.

    \b
    Example:
      lvm-bench score --real photos/ --fake samples.npz --extractor inception --json mine.json
      lvm-bench score --real photos/ --fake others/ --against mine.json
      lvm-bench score --codes codes.npy --prior normal --factors factors.npy
      lvm-bench score --model my_model.py:Mine --data mnist
      lvm-bench score --model my_model.py:Mine --as "My model" --suite mnist-small
    """
    from lvm_bench.execution.score import score as measure

    def say(line: str) -> None:
        click.echo(printable(line))

    sys.exit(measure(options, out, against, config, plugins, say, Steps(volume)))


for _option in reversed(_OPTIONS):
    score = _option(score)
