"""A disk that is full or read-only, a clock that jumps, a results folder that is moved or copied."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lvm_bench.runs.layout import LEASE

from .inside import die_after, hasten, jump, limit_files
from .kills import compare
from .mutations import VERIFY
from .place import REPORT, TINY, Item, Place, checksums, run
from .runners import RUN_FOLDER, forge, touched, until

RUN = run(*TINY, methods=("aae",))
LONGER = run("--set=epochs=60", "--set=checkpoint_seconds=0.1", '--set=metrics=["mse"]', methods=("aae",))
# Free KiB: of an empty folder, of one killed in evaluation, and of a finished one that is to be reported.
ROOM = {
    "run": (4, 16, 64, 256, 512, 1024, 1536, 2048, 2560, 3072),
    "run, killed in evaluation": (0, 4, 8, 12, 16, 24),
    "report": (0, 4, 8, 16, 32, 64),
}
MOST = (1_000, 1_500, 3_000, 10_000, 500_000)  # bytes of a file, where nothing can be mounted
SAID = re.compile(r"([\w.-]+): (?:cannot be written|the results folder cannot be written) \(")


class Disk:
    """A small file system in memory, where mounting is allowed."""

    def __init__(self, folder: Path):
        self.folder = folder

    def resize(self, kib: int) -> None:
        """Give it so much room besides what it holds."""
        found = os.statvfs(self.folder)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize // 1024
        _mount("-o", f"remount,size={used + kib}k", str(self.folder))

    def read_only(self, yes: bool) -> None:
        """Forbid or allow writing."""
        _mount("-o", f"remount,{'ro' if yes else 'rw'}", str(self.folder))


def _mount(*words: str) -> bool:
    return subprocess.run(["mount", *words], capture_output=True, check=False).returncode == 0


@contextmanager
def disk(folder: Path) -> Iterator[Disk | None]:
    """A file system of 64 MiB on a folder; None where mounting is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = sys.platform == "linux" and _mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder))
    try:
        yield Disk(folder) if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def full(make: Callable[[str], Place], seed: int, every: int = 1) -> Item:
    """A disk that fills up at many sizes, or at every `every`-th of them."""
    item = Item(
        "A full disk",
        "The results lie on a file system that has room for so many KiB more; the command must stop with exit code 1 "
        "and a sentence that names the file, and everything that was finished must be sound for `verify`. After room "
        "is made the same command must finish with the bytes of an undisturbed run.",
        ["command", "room", "exit code", "the file named"],
    )
    finished, killed = make("finished-full"), make("killed-full")
    ended = [finished.forked(RUN)]
    quiet = finished.copy(finished.folder.with_name("quiet-full"))
    ended.append(quiet.forked(REPORT))
    item.expect([one.code for one in ended] == [0, 0], f"the undisturbed failed: {ended[0].text} {ended[1].text}")
    killed.forked(RUN, die_after, "scores.partial.json", 1)
    states = {"run": None, "run, killed in evaluation": killed, "report": finished}
    how = "a tmpfs"
    for command, rooms in ROOM.items():
        words = REPORT if command == "report" else RUN
        for room in rooms[::every]:
            place = make(f"full-{command[-10:]}-{room}")
            with disk(place.results) as small:
                if small is None:
                    how = ""
                    continue
                state = states[command]
                if state:
                    shutil.copytree(state.results, place.results, dirs_exist_ok=True)
                small.resize(room)
                ended = place.forked(words)
                _judge(item, f"{command}, {room} KiB", ended.code, ended.text, place, words)
                item.rows.append([command, f"{room} KiB", ended.code, _named(ended.text) or "–"])
                small.resize(65536)
                _finish(item, f"{command}, {room} KiB", place, quiet)
    if not how:
        how = "a limit on the size of files (mounting is not allowed here)"
        for most in MOST[::every]:
            place = make(f"limit-{most}")
            if most != MOST[0]:  # else the cache is what is full
                shutil.copytree(quiet.cache, place.cache)
            ended = place.forked(RUN, limit_files, most)
            _judge(item, f"files of {most} bytes", ended.code, ended.text, place, RUN)
            item.rows.append(["run", f"{most:,} bytes a file", ended.code, _named(ended.text) or "–"])
            _finish(item, f"files of {most} bytes", place, quiet)
    item.expect(len({row[3] for row in item.rows}) > 2 or every > 1, "the disk was full in too few different files")
    item.notes.append(f"By {how}.")
    return item


def _named(text: str) -> str:
    found = SAID.search("".join(text.splitlines()))
    return found[1] if found else ""


def _judge(item: Item, name: str, code: int, text: str, place: Place, words: list[str]) -> None:
    item.expect(code in (0, 1), f"{name}: ended with {code}: {text[-800:]}")
    item.expect("Traceback" not in text, f"{name}: a traceback: {text[-1500:]}")
    item.expect(code == 0 or _named(text), f"{name}: names no file: {text[-800:]}")
    if words is RUN:
        ended = place.forked([*VERIFY])
        nothing = "no results" in ended.text
        item.expect(ended.code == 0 or nothing, f"{name}: `verify` is not content: {ended.text[-800:]}")


def _finish(item: Item, name: str, place: Place, quiet: Place) -> None:
    """The same commands once more, and a comparison with an undisturbed run."""
    for words in (RUN, REPORT):
        ended = place.forked(words)
        item.expect(ended.code == 0, f"{name}, room made: {words[0]} ended with {ended.code}: {ended.text[-800:]}")
    item.failures += [f"{name}: {text}" for text in compare(quiet, place)]


def read_only(make: Callable[[str], Place], seed: int) -> Item:
    """A results folder that cannot be written: what works, and what says why not."""
    item = Item(
        "Read-only results",
        "`run` with something to do must refuse with a sentence and exit code 2 before any work; `list runs` and "
        "`verify` must work; `report` must say why it cannot.",
        ["command", "exit code", "what it said"],
    )
    place = make("read-only")
    with disk(place.results) as mounted:
        if mounted is None and os.geteuid() == 0:
            item.notes.append("Not run: nothing can be mounted here, and root may write everywhere.")
            return item
        for words in (RUN, REPORT):
            place.forked(words)
        before = checksums(place.results)
        _forbid(place.results, mounted, True)
        more = [*RUN, "--seeds", "1"]
        expected = ((more, {2}, "cannot be written"), (["list", "runs"], {0}, "aae"), (VERIFY, {0}, ""),
                    (REPORT, {1, 2}, "cannot be written"))  # fmt: skip
        for words, codes, said in expected:
            ended = place.forked(words)
            name = " ".join(words[:2]) if words[0] == "list" else words[0]
            item.expect(ended.code in codes, f"{name} ended with {ended.code}: {ended.text[-800:]}")
            item.expect(ended.is_sentence, f"{name}: a traceback: {ended.text[-1500:]}")
            item.expect(said in " ".join(ended.text.split()), f"{name} did not say {said!r}: {ended.text[-800:]}")
            item.expect("digits/" not in ended.text or words is not more, f"{name} began to work: {ended.text[-800:]}")
            lines = [line for line in ended.text.splitlines() if said and said in line]
            item.rows.append([f"`{name}`", ended.code, _short(lines[0], place) if said and lines else "worked"])
        item.expect(checksums(place.results) == before, "a file was changed")
        _forbid(place.results, mounted, False)
    item.notes.append("By a read-only mount." if mounted else "By permissions.")
    return item


def _forbid(folder: Path, mounted: Disk | None, yes: bool) -> None:
    if mounted:
        mounted.read_only(yes)
        return
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o555 if yes else 0o755)


def _short(line: str, place: Place) -> str:
    return line.replace(str(place.folder), "").strip()[:120]


def clock(make: Callable[[str], Place], seed: int) -> Item:
    """The clock of the day jumps by up to a day at every look."""
    item = Item(
        "A clock that jumps",
        "In the process of `run` the clock of the day jumps by up to 24 hours, forth or back, at every look. The "
        "results must be the same bytes; another host's lease that is touched must be respected, and taken over when "
        "it is not touched any more.",
        ["case", "exit code", "seconds"],
    )
    quiet = make("quiet-clock")
    for words in (RUN, REPORT):
        quiet.forked(words)
    for name, held in (("alone", False), ("another host holds the run for a while", True)):
        place = make(f"clock-{held}")
        if held:
            forge(place, age=0.0)
            with touched(place, 0.0):
                started = place.fork(RUN, jump)
                until(lambda log=started.log: log.read_text().count("waiting") > 30, started)
                begun = (place.results / RUN_FOLDER / "job.json").exists()
                item.expect(started.is_running and not begun, f"{name}: it was begun though it is held")
            ended = started.end()
        else:
            ended = place.forked(RUN, jump)
        item.expect(ended.code == 0, f"{name}: ended with {ended.code}: {ended.text[-800:]}")
        item.expect(place.forked(REPORT).code == 0, f"{name}: report failed")
        item.failures += [f"{name}: {text}" for text in compare(quiet, place)]
        item.rows.append([name, ended.code, f"{ended.seconds:.1f}"])
    return item


def moved(make: Callable[[str], Place], seed: int) -> Item:
    """A results folder that is moved or copied, unfinished, and gone on with there."""
    item = Item(
        "A moved or copied results folder",
        "The folder is moved or copied while a run in it is unfinished; the same command with `--results` goes on "
        "there, to the bytes of an undisturbed run, and the old place stays as it was.",
        ["what was done", "exit code", "seconds"],
    )
    quiet = make("quiet-moved")
    for words in (RUN, REPORT):
        quiet.forked(words)

    def go_on(name: str, place: Place, to: Path, before: Callable[..., object] | None = None) -> None:
        source, kept = place.results, checksums(place.results) if place.results.exists() else None
        ended = place.forked([*RUN, "--results", str(to)], before)
        item.expect(ended.code == 0, f"{name}: ended with {ended.code}: {ended.text[-800:]}")
        reported = place.forked([*REPORT, "--results", str(to)])
        item.expect(reported.code == 0, f"{name}: report ended with {reported.code}: {reported.text[-800:]}")
        place.results = to
        item.failures += [f"{name}: {text}" for text in compare(quiet, place)]
        now = checksums(source) if source.exists() else None
        item.expect(now == kept, f"{name}: the old place is not what it was")
        item.rows.append([name, ended.code, f"{ended.seconds:.1f}"])

    for state, file in (("in training", "resume.safetensors"), ("in evaluation", "scores.partial.json")):
        for verb in ("moved", "copied"):
            place = make(f"{verb}-{file}")
            place.forked(RUN, die_after, file, 2 if state == "in training" else 1)
            to = place.folder / "elsewhere" / "other name"
            to.parent.mkdir()
            shutil.move(place.results, to) if verb == "moved" else shutil.copytree(place.results, to)
            go_on(f"killed {state}, {verb}", place, to)
    place = make("from-another")
    place.forked(RUN, die_after, "resume.safetensors", 2)
    forge(place, age=0.0)
    to = place.folder / "here"
    shutil.copytree(place.results, to, copy_function=shutil.copy)  # times of now
    go_on("killed in training, copied from another host with its lease", place, to, hasten)
    place = make("while-running")
    started = place.fork(LONGER)
    until(lambda: (place.results / RUN_FOLDER / "resume.previous.safetensors").exists(), started)
    to = place.folder / "snapshot"
    item.expect(started.is_running, "copied while a runner is at work: it was over too soon")
    _copy_living(place.results, to)
    ended, other = place.forked([*LONGER, "--results", str(to)]), started.end()
    item.expect((ended.code, other.code) == (0, 0), f"copied while a runner is at work: {ended.text} {other.text}")
    copied = Place(place.folder)
    copied.results = to
    same = copied.bytes_of_runs() == place.bytes_of_runs()
    item.expect(same, "copied while a runner is at work: the copy has other bytes")
    item.expect(not [*to.rglob(LEASE)], "copied while a runner is at work: a lease was left over")
    item.rows.append(["copied while a runner is at work", ended.code, f"{ended.seconds:.1f}"])
    return item


def _copy_living(source: Path, to: Path) -> None:
    """Copy a folder whose files come and go."""
    for file in sorted(source.rglob("*")):
        target = to / file.relative_to(source)
        try:
            if file.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, target)
        except FileNotFoundError:
            continue
