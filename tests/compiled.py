"""LaTeX that is compiled in the three classes for which tables are made; what went wrong is read from the log."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

LATEX = shutil.which("pdflatex")

MISSING = "there is no pdflatex here (Debian: texlive-latex-extra texlive-science)"

CLASSES = {
    "one-column": r"\documentclass{article}",
    "two-columns": r"\documentclass[twocolumn]{article}",
    # NeurIPS sets a page 5.5 inches wide and 9 inches high in Times.
    "neurips": r"\documentclass{article}\usepackage[letterpaper,textwidth=5.5in,textheight=9in]{geometry}"
    r"\usepackage{times}",
}

PACKAGES = r"\usepackage{booktabs,siunitx,array,tabularx,xcolor}"

_FILE = r"\(\./(?P<file>[^\s()]+)\.tex"

_WARNED = r"LaTeX Warning: (?:Float too large|Label .* multiply|Reference)"

_WRONG = rf"(?P<wrong>^(?:! |Overfull |Missing character|{_WARNED}).*)"


def packages_of(text: str) -> str:
    """The line that loads what a table's own first line says it needs."""
    return text.partition("\n")[0].removeprefix("% needs ")


def problems(
    folder: Path, name: str, texts: Sequence[str], runs: int = 1, packages: str = PACKAGES, between: str = "\\clearpage"
) -> list[str]:
    """What is wrong with one document of these texts: errors, overfull boxes, floats larger than a page.

    `name` begins with a class and a dot or is one. The document stays in the folder as <name>.tex and .pdf. References
    are resolved in a second run, and count then.
    """
    assert LATEX
    body = f"\n{between}\n".join(texts)
    (folder / f"{name}.tex").write_text(
        f"{CLASSES[name.split('.')[0]]}\n{packages}\n\\begin{{document}}\n{body}\n\\end{{document}}\n"
    )
    command = [LATEX, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", f"{name}.tex"]
    for _ in range(runs):
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=300, check=False)
    log = (folder / f"{name}.log").read_text(errors="replace")
    where, wrong = name, []
    for found in re.finditer(f"{_FILE}|{_WRONG}", log, re.MULTILINE):
        where = found["file"] or where
        if found["wrong"] and (runs > 1 or "Reference" not in found["wrong"]):
            wrong.append(f"{where}: {found['wrong']}")
    return list(dict.fromkeys(wrong)) if wrong or done.returncode == 0 else [f"pdflatex ended with {done.returncode}"]
