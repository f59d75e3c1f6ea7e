"""How Sphinx builds the documentation.

Sphinx with MyST and furo, because the pages of methods, metrics and functions come from docstrings (autodoc and
`generate.py`), the build needs no network, a warning is an error, and notebooks are executed while it runs.
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import generate  # noqa: E402

from lvm_bench import __version__  # noqa: E402

project = "lvm-bench"
author = "the authors of lvm-bench"
copyright = "the authors of lvm-bench, MIT licence"
release = version = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_build", "generated/at-scale.md"]  # the latter stands in scale.md
html_theme = "furo"
html_title = f"lvm-bench {__version__}"
html_show_sphinx = False
templates_path = ["_templates"]
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "leaderboard.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}

myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_timeout = 180
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_typehints = "signature"
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
copybutton_line_continuation_character = "\\"
pygments_style, pygments_dark_style = "friendly", "monokai"


def as_plain_text(app, what, name, thing, options, lines):
    """Docstrings are plain text with `code`: escape what reStructuredText would read as marks."""
    text = "\n".join(line.strip() for line in lines)
    parts = re.split(r"(`[^`]*`)", text)
    lines[:] = "".join(
        f"`{part}`" if part.startswith("`") else re.sub(r"([*|_\\])", r"\\\1", part) for part in parts
    ).split("\n")


def setup(app):
    """Write the generated pages before Sphinx looks for its sources."""
    app.connect("builder-inited", lambda app: generate.write(HERE / "generated"))
    app.connect("autodoc-process-docstring", as_plain_text)
