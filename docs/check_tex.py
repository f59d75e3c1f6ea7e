"""Compile the LaTeX tables of every committed suite in three classes: `PYTHONPATH=tests python docs/check_tex.py`.

All tables of a class stand in one document; a few stand alone, with the packages that their first line names.
"""

import sys
import tempfile
from pathlib import Path

import click
from compiled import CLASSES, LATEX, MISSING, packages_of, problems

from lvm_bench.report.tables import bandwidth, tex, tex_words
from lvm_bench.report.tables.compose import compose_tables
from lvm_bench.runs import checksums, gather
from lvm_bench.suites import labels

RESULTS = Path(__file__).parents[1] / "results"

ASKED = [("quick", None, "ci95"), ("mnist-small", "avae-2024", "std")]  # what stands beside the tables as they are

ALONE = {"quick-frechet", "quick-claims", "mnist-small-frechet-avae-2024", "disentanglement-small-factors"}


def rendered(folder: Path, against: str | None = None, spread: str = "std") -> dict[str, str]:
    """The LaTeX of a suite's tables by name. Nothing is written."""
    with labels.using(labels.current()):
        found = gather.gather(folder, checksums.read(folder), print)
        labels.show(found.about.shown)
        composed = compose_tables(folder, found, against, spread)
        made = {table.name: tex.to_latex(table, folder.name) for table in composed.filled}
        return (
            made
            if against or spread != "std"
            else made | {table.name: tex_words.to_latex(table, folder.name) for table in composed.words if table.rows}
        )


@click.command()
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Leave documents and tables here.")
@click.option("--suite", "suites", multiple=True, help="Only this suite (repeatable).")
def main(keep: Path | None, suites: tuple[str, ...]) -> None:
    """Compile all tables in three classes; exit code 1 with what went wrong."""
    if LATEX is None:
        print(MISSING)  # whoever has no TeX can still build the documentation
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        names = suites or sorted(file.parent.name for file in RESULTS.glob("*/scores.csv"))
        shown = [(name, None, "std") for name in names] + [each for each in ASKED if each[0] in names]
        texts, inputs = {"bandwidth": bandwidth.to_latex(bandwidth.read(RESULTS / "bandwidth"))}, [r"\input{bandwidth}"]
        for name, against, spread in shown:
            end = "" if (name, against, spread) not in ASKED else f"-{against or spread}"
            found = {f"{name}-{table}{end}": text for table, text in rendered(RESULTS / name, against, spread).items()}
            inputs.append("\n".join(rf"\input{{{file}}}" for file in found))
            texts |= found
        for name, text in texts.items():
            (folder / f"{name}.tex").write_text(text)
        wrong = []
        for kind in CLASSES:
            # LaTeX holds back a hundred or so floats, which are more than one suite has and fewer than all.
            wrong += [f"{kind}: {what}" for what in problems(folder, kind, inputs)]
            for name in ALONE & texts.keys():
                text = texts[name]
                wrong += problems(folder, f"{kind}.{name}", [text], runs=2, packages=packages_of(text))
            print(f"{kind}: {len(texts)} files compiled together, {len(ALONE & texts.keys())} alone", flush=True)
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main()
