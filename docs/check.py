"""Tries what README and the documentation show: links, commands, files, and the scripts for clusters.

    python docs/check.py links      every link within README, the built site and the other Markdown files
    python docs/check.py commands   every command, in a scratch folder for each page, and its output where one is shown;
                                    of some pages alone where they are named: commands docs/score.md

A fenced block `console` holds commands after `$ ` and what they print. A line `...` stands for any lines, and `...` in
a line for any text. A block `python` is run. A comment in the line before a block changes that:

    <!-- file: NAME -->       the block is the file NAME, which later commands of the page find
    <!-- numbers: OF WHAT --> its output holds other numbers elsewhere
    <!-- parsed: REASON -->   its commands are too large or need what is not here; only their options are checked
"""

import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
DOCS, SITE = ROOT / "docs", ROOT / "results" / "site"
FENCE = re.compile(r"^(?:<!-- (file|numbers|parsed): (.*?) -->\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its text, and what the comment before it says."""

    page: Path
    line: int
    language: str
    text: str
    said: str  # file, numbers, parsed or nothing
    what: str

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.page.relative_to(ROOT)}, line {self.line}"


@dataclass(frozen=True)
class Command:
    """A shown command with the lines of output that follow it."""

    line: str
    shown: str


def pages() -> list[Path]:
    """README and every page that is written by hand."""
    generated = set(DOCS.glob("generated/**/*.md"))
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(set(DOCS.rglob("*.md")) - generated)]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page that hold commands or files."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found[3], found[4], found[1] or "", found[2] or "")
        for found in FENCE.finditer(text)
        if found[3] in ("console", "python", "toml", "bash")
    ]


def commands(block: Block) -> list[Command]:
    """The commands of a `console` block; a backslash at the end of a line goes on with the next."""
    found: list[Command] = []
    if block.language != "console":
        return found
    for line in block.text.replace("\\\n", "").splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], ""))
        elif found:
            found[-1] = Command(found[-1].line, f"{found[-1].shown}{line}\n")
        else:
            raise ValueError(f"{block.place}: a line of output before any command")
    return found


# --- commands -------------------------------------------------------------------------------------------------


def parse(line: str) -> str:
    """Why the command line would refuse a command as shown, or nothing: options, suites, methods and data sets."""
    from click import ClickException, Group
    from click.exceptions import Exit

    from lvm_bench.cli import main
    from lvm_bench.suites import bench_toml, own_file

    words = shlex.split(line, comments=True)
    words = words[: words.index("||")] if "||" in words else words  # what is said when it is refused
    if not words or words[0] != "lvm-bench":
        return ""
    command, rest = main, words[1:]
    while isinstance(command, Group) and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            return f"there is no command {rest[0]!r}"
        command, rest = command.commands[rest[0]], rest[1:]
    try:
        context = command.make_context(command.name, rest)
    except ClickException as error:
        return error.format_message()
    except Exit:
        return ""
    suite = context.params.get("suite")
    shown = "".join(page.read_text(encoding="utf-8") for page in pages()) + own_file.CONTENT
    known = {
        *bench_toml.suite_names(bench_toml.config_file(None)),
        *re.findall(r"^\[suites\.([\w-]+)\]", shown, re.MULTILINE),
    }
    if suite and suite.removesuffix("-tuned") not in known:
        return f"there is no suite {suite!r}"
    return ""


def run(command: str, folder: Path, data: Path) -> tuple[int, str]:
    """The exit code and the output of a command in a folder. What is learned of data is kept in the folder `data`."""
    path = os.pathsep.join([str(Path(sys.executable).parent), str(DOCS / "stubs"), os.environ["PATH"]])
    told = {
        "PATH": path,
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "120",
        "LVM_BENCH_DATA": str(data),
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=os.environ | told, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=900,
    )  # fmt: skip
    return done.returncode, done.stdout


def without_numbers(text: str) -> str:
    """A text whose numbers do not tell, nor which methods stand behind a mark ≈."""
    return re.sub(r"[\d.,]*\d", "0", re.sub("≈.*", "", text))


def is_like(shown: str, printed: str) -> bool:
    """Whether a command printed what is shown of it; `...` stands for any text, alone in its line for any lines."""
    pattern = "".join(
        "(?:.*\n)*?" if line == "..." else ".*?".join(re.escape(part.strip()) for part in line.split("...")) + " ?\n"
        for line in plain(shown)
    )
    return re.fullmatch(f"{pattern}\n*", "".join(f"{line}\n" for line in plain(printed))) is not None


def plain(text: str) -> list[str]:
    """The lines of a text without spaces that only lay it out."""
    return [" ".join(line.split()) for line in text.rstrip().splitlines()]


def scratch(page: Path) -> Path:
    """A folder with the committed results and the example files, in which the commands of a page are tried."""
    folder = Path(tempfile.mkdtemp(prefix=f"shown-{page.stem}-"))
    ignored = shutil.ignore_patterns("runs", "site", ".lock", ".lease.json")
    shutil.copytree(ROOT / "results", folder / "results", ignore=ignored)
    shutil.copytree(DOCS / "examples", folder, dirs_exist_ok=True)
    shutil.copytree(DOCS / "examples" / "slurm", folder, dirs_exist_ok=True)
    return folder


def tried(page: Path, data: Path) -> tuple[list[str], int, int]:
    """What of a page is not as shown, with the numbers of commands that were run and of those that were parsed."""
    wrong: list[str] = []
    ran = parsed = 0
    found = blocks(page)
    folder = scratch(page) if found else Path()
    try:
        for number, block in enumerate(found):
            name = block.what if block.said == "file" else f"shown_{number}.py"
            if block.said == "file" or block.language == "python":
                wrong += same(block, folder / name)
                (folder / name).write_text(block.text, encoding="utf-8")
            given = {"python": [Command(f"python {name}", "")], "console": commands(block)}
            for command in given.get(block.language, []) if block.said != "file" else []:
                is_run = block.said != "parsed"
                ran, parsed = ran + is_run, parsed + (not is_run)
                reason = differing(command, block, folder, data) if is_run else refused(command, block)
                wrong += [f"{block.place}: {command.line}\n  {reason}"] if reason else []
    finally:
        if found:
            shutil.rmtree(folder, ignore_errors=True)
    return wrong, ran, parsed


def refused(command: Command, block: Block) -> str:
    """Why a command, or the code of a block, would be refused as it is written, or nothing."""
    if block.language == "python":
        compile(block.text, block.place, "exec")
    return parse(command.line)


def differing(command: Command, block: Block, folder: Path, data: Path) -> str:
    """How a command that is run ends otherwise than it is shown, or nothing."""
    begun = time.monotonic()
    code, printed = run(command.line, folder, data)
    print(f"{time.monotonic() - begun:6.1f} s  {block.place}: {command.line}", flush=True)
    bare = without_numbers if block.said == "numbers" else str
    if code:
        return f"exit code {code}:\n{printed[-3000:]}"
    if command.shown and not is_like(bare(command.shown), bare(printed)):
        return f"shown:\n{command.shown}\n  printed:\n{printed[-6000:]}"
    return ""


def same(block: Block, file: Path) -> list[str]:
    """A sentence where a file is shown otherwise than it lies in docs/examples."""
    if file.is_file() and code(file.read_text(encoding="utf-8")) != code(block.text):
        return [f"{block.place}: the file {file.name} is shown otherwise than it lies in docs/examples"]
    return []


def code(text: str) -> str:
    """Python code without the docstring at its top and without empty lines at its ends."""
    return re.sub(r'\A""".*?"""', "", text, flags=re.DOTALL).strip()


def scripts() -> list[str]:
    """What `bash -n` says of the scripts for clusters."""
    wrong = []
    for file in sorted([*(DOCS / "examples" / "slurm").iterdir(), *(DOCS / "stubs").iterdir()]):
        done = subprocess.run(["bash", "-n", str(file)], capture_output=True, text=True)
        wrong += [f"{file}: {done.stderr}"] if done.returncode else []
    return wrong


def try_commands(chosen: list[Path]) -> list[str]:
    """What is not as shown, of all pages or of some; two pages at a time."""
    first = sorted(
        chosen or pages(), key=lambda page: (page.name != "README.md", -sum(len(commands(b)) for b in blocks(page)))
    )
    with tempfile.TemporaryDirectory(prefix="shown-data-") as data, ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda page: tried(page, Path(data)), first))
    ran, parsed = sum(each[1] for each in found), sum(each[2] for each in found)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{ran} commands and files run in {used.ru_utime + used.ru_stime:.0f} CPU seconds, {parsed} parsed alone.")
    return [*scripts(), *(text for wrong, _, _ in found for text in wrong)]


# --- links ----------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """The targets and the anchors of an HTML page."""

    def __init__(self, file: Path):
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what a tag links to and the names that it has."""
        given = dict(attrs)
        self.targets += [value for name in ("href", "src") if (value := given.get(name))]
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}


def of_site() -> list[str]:
    """Links of the built pages that lead nowhere. `make site` makes the pages of suites, which need not be there."""
    made_later = {
        SITE / "index.html",
        *(SITE / file.parent.name / "report.html" for file in (ROOT / "results").glob("*/scores.csv")),
    }
    built = {file: Page(file) for file in sorted((SITE / "docs").rglob("*.html"))}
    wrong = []
    for file, page in built.items():
        for target in dict.fromkeys(page.targets):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            other = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if other in made_later:
                continue
            if not other.is_file():
                wrong.append(f"{file.relative_to(SITE)}: {target} leads nowhere")
            elif parts.fragment and other in built and unquote(parts.fragment) not in built[other].anchors:
                wrong.append(f"{file.relative_to(SITE)}: {target} names no place of that page")
    if not built:
        wrong.append("results/site/docs: no page is there. Build them first: make docs")
    print(f"{len(built)} pages, {sum(len(set(page.targets)) for page in built.values())} links.")
    return wrong


def of_markdown() -> list[str]:
    """Relative links of Markdown files outside docs/ that lead nowhere; Sphinx refuses those within."""
    wrong = []
    given = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in given.split():
        text = re.sub(r"```.*?```|`[^`\n]*`", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            parts = urlsplit(target)
            if parts.scheme or not parts.path or name.startswith("docs/"):
                continue
            if not (ROOT / name).parent.joinpath(unquote(parts.path)).exists():
                wrong.append(f"{name}: {target} leads nowhere")
    return wrong


def main(what: str, *chosen: str) -> int:
    """Try one of the two, and print what is wrong; the exit code."""
    files = [Path(name).resolve() for name in chosen]
    wrong = try_commands(files) if what == "commands" else [*of_site(), *of_markdown()]
    for text in wrong:
        print(f"WRONG  {text}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
