"""Many at once: runs at a time, runners on one folder, clients of the lease alone, short jobs on three nodes."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lvm_bench.runs.layout import LEASE, LOCK, SCORES
from lvm_bench.suites import bench_toml

from .cluster import cluster_of
from .kills import compare
from .place import REPORT, TINY, TOO_LONG, Item, Place, checksums, differing

HERE = Path(__file__).parent
PAUSE, NODES, EFFICIENCY = 5.0, 3, 0.85  # of a stub in seconds; the least share of the ideal
SHORT = (
    "--set=epochs=1", "--set=train_images=100", "--set=test_images=60", "--set=batch_size=50",
    "--set=classifier_epochs=1", "--set=threads=1", '--set=metrics=["mse"]', "--device=cpu",
)  # fmt: skip


def at_a_time(make: Callable[[str], Place], share: float) -> Item:
    """`quick` and its report with `--jobs 1`, 2 and `auto`."""
    item = Item(
        "Runs at a time",
        "`quick` and its report with `--jobs 1`, `--jobs 2` and `--jobs auto`. Every score, weight, history, table and "
        "figure is compared byte for byte with those of `--jobs 1`.",
        ["jobs", "files compared", "with other bytes", "seconds of `run`", "seconds of `report`"],
    )
    words = ["run", "--suite", "quick", "--config", str(bench_toml.defaults_folder() / "bench.toml"), "--device=cpu"]
    if share < 1:
        words += ["--set=classifier_epochs=1", *TINY]
    quiet = make("jobs-1")
    for jobs in ("1", "2", "auto"):
        place = make(f"jobs-{jobs}")
        ran, reported = (place.call([*command, "--jobs", jobs]) for command in (words, REPORT))
        item.expect(ran.code == reported.code == 0, f"--jobs {jobs}: {ran.text[-500:]} {reported.text[-500:]}")
        figures = differing(_figures(quiet), _figures(place))
        problems = [*compare(quiet, place), *(f"{name} has other bytes" for name in figures)]
        item.failures += [f"--jobs {jobs}: {text}" for text in problems]
        count = len(place.bytes_of_runs()) + len(place.bytes_of_report()) + len(_figures(place))
        item.rows.append([f"`{jobs}`", count, len(problems), f"{ran.seconds:.0f}", f"{reported.seconds:.0f}"])
    return item


def _figures(place: Place) -> dict[str, str]:
    return {name: sha for name, sha in checksums(place.results).items() if name.endswith((".png", ".pdf"))}


def crowd(make: Callable[[str], Place], share: float) -> Item:
    """Runners of a plug-in that does next to nothing, and clients of the lease alone, on one folder each."""
    runners, clients = (max(2, round(count * share)) for count in (16, 64))
    item = Item(
        "A crowd on one folder",
        "Runners of a plug-in whose runs take milliseconds (a runner takes 300 MiB or more by its imports, which "
        "limits their number), and processes that import the lease alone. Each run and each folder must be worked on "
        "once, and no lease may be left.",
        ["who", "how many", "folders", "worked on once", "seconds"],
    )
    place, runs = make("crowd"), 4 * runners
    file = _bench(place.folder, methods=4, seeds=runners)
    words = ["run", "--suite", "stubs", "--config", str(file), "--plugin", str(HERE / "stub.py"), *SHORT, "--jobs=1"]
    begun = time.monotonic()
    for started in [place.start(words) for _ in range(runners)]:
        ended = started.end()
        item.expect(ended.code == 0, f"a runner of {runners} ended with {ended.code}: {ended.text[-500:]}")
    once = len((place.folder / "begun.log").read_text().splitlines())
    item.expect(once == runs, f"{once} trainings were begun for {runs} runs")
    item.failures += _left_over(place.results)
    item.rows.append(["runners", runners, runs, once, f"{time.monotonic() - begun:.0f}"])

    place, count = make("clients"), 20 * clients
    for number in range(count):
        (place.folder / "work" / str(number)).mkdir(parents=True)
    begun = time.monotonic()
    command = [sys.executable, str(HERE / "client.py"), str(place.folder / "work")]
    at_work = [subprocess.Popen(command, env=place.environment) for _ in range(clients)]
    for process in at_work:
        item.expect(process.wait(TOO_LONG) == 0, f"a client of {clients} ended with {process.returncode}")
    seconds = time.monotonic() - begun
    whose = [len(file.read_text().splitlines()) for file in place.folder.glob("work/*/begun")]
    item.expect(whose == [1] * count, f"{count - whose.count(1)} of {count} folders were not worked on once")
    item.failures += _left_over(place.folder / "work")
    item.rows.append(["clients of the lease", clients, count, whose.count(1), f"{seconds:.0f}"])
    return item


def _left_over(folder: Path) -> list[str]:
    return [f"{file} was left over" for name in (LEASE, LOCK) for file in folder.rglob(name)]


def nodes(make: Callable[[str], Place], share: float) -> Item:
    """200 stubs on a Ray cluster of three nodes."""
    seeds = max(1, round(5 * share))
    runs = 40 * seeds
    item = Item(
        "Short jobs on three nodes",
        f"{runs} runs of a stub that sleeps for {PAUSE:.0f} s, on a Ray cluster of three nodes (raylets of this "
        f"machine, one CPU each). Ideal are {PAUSE:.0f} s per run and three runs at a time, from the begin of the "
        f"first to the last score; at least {EFFICIENCY:.0%} of that is promised.",
        ["runs", "nodes", "ideal seconds", "seconds", "efficiency", "processes"],
    )
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    place = make("stubs")
    file = _bench(place.folder, methods=40, seeds=seeds, pause=PAUSE)
    with cluster_of(place, NODES) as cluster:
        words = ["--suite", "stubs", "--config", str(file), "--plugin", str(HERE / "stub.py"), *SHORT]
        log = place.log()
        with log.open("wb") as stream:  # not `place.start`, which ends what takes longer than five minutes
            code = subprocess.run(
                [sys.executable, "-m", "lvm_bench", "run", *words, "--address", cluster.address],
                cwd=place.folder, env=place.environment, stdout=stream, stderr=stream, check=False,
            ).returncode  # fmt: skip
    item.expect(code == 0, f"the command ended with {code}: {log.read_text()[-500:]}")
    if code:
        return item
    begun = [line.split() for line in (place.folder / "begun.log").read_text().splitlines()]
    item.expect(len(begun) == runs, f"{len(begun)} trainings were begun for {runs} runs")
    last = max(file.stat().st_mtime for file in place.results.rglob(SCORES))
    seconds, ideal = last - min(float(start) for start, _ in begun), PAUSE * runs / NODES
    efficiency = ideal / seconds
    item.expect(efficiency >= EFFICIENCY, f"the efficiency is {efficiency:.0%}.")
    processes = len({pid for _, pid in begun})
    item.rows.append([runs, NODES, f"{ideal:.0f}", f"{seconds:.0f}", f"{efficiency:.0%}", processes])
    return item


def _bench(folder: Path, methods: int, seeds: int, pause: float = 0.0) -> Path:
    """A bench.toml with a suite of so many methods on the digits: the stub and variants of it."""
    packaged = bench_toml.defaults_folder()
    text = (packaged / "bench.toml").read_text()
    text = text.replace('packages = ["baselines"]', f'packages = ["{(packaged / "baselines").as_posix()}"]')
    names = [f"stub-{n}" for n in range(1, methods)]  # and the stub itself, which joins as a plug-in
    tables = [f'[methods.{name}]\nbase = "stub"' for name in names] + [f"[methods.stub]\npause = {pause}"]
    suite = f'[suites.stubs]\ndatasets = ["digits"]\nmethods = {names}\nseeds = {[*range(seeds)]}'
    file = folder / "bench.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([text, *tables, suite, '[suites.stubs.evaluate]\nextractor = "classifier"\n']))
    return file
