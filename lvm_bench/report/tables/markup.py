"""Text as LaTeX and as Markdown show it."""

from functools import cache

from lvm_bench.text import one_line

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_",
    "%": r"\%", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": "$<$", ">": "$>$", "|": "$|$",
    '"': "''", "[": "{[}", "]": "{]}", "*": "{*}", "β": r"$\beta$", "±": r"$\pm$", "–": "--", "−": "$-$",
    "∞": r"$\infty$", "é": r"\'e", "†": r"$\dagger$", "↓": r"$\downarrow$", "↑": r"$\uparrow$",
    "→": r"$\rightarrow$", "≈": r"$\approx$", "\N{NO-BREAK SPACE}": "~", "σ": r"$\sigma$", "α": r"$\alpha$",
    "λ": r"$\lambda$", "×": r"$\times$", "°": r"$^\circ$", "²": r"$^2$", "√": r"$\surd$", "≤": r"$\le$", "≥": r"$\ge$",
}  # fmt: skip

_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]<>#|~$!"})


def markdown(text: str) -> str:
    """Text that Markdown shows as it stands."""
    return one_line(text).translate(_MARKDOWN)


@cache
def latex(text: str) -> str:
    """Text that LaTeX sets as it stands; a character that it might not know becomes a question mark."""
    return "".join(_LATEX.get(c, c if c.isascii() and c.isprintable() else " " if c.isspace() else "?") for c in text)
