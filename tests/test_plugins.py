"""One file adds a method, data set, network, metric or extractor: dropped into the package, a package, a plug-in."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lvm_bench.errors import UserError
from lvm_bench.registry import REGISTRIES
from lvm_bench.runs.layout import site_folder
from lvm_bench.suites import bench_toml, catalogue
from lvm_bench.suites.discover import extensions
from lvm_bench.suites.resolve import resolve

PACKAGED = bench_toml.defaults_folder() / "bench.toml"

FILES = {
    "method": '''
from lvm_bench import Method, method
from lvm_bench.losses import sse

@method("new-method", label="New & shiny")
class New(Method):
    """A method of one's own."""

    def losses(self, x):
        recon = sse(x, self.decode(self.encode(x))).mean()
        return {"loss": recon, "recon": recon}
''',
    "dataset": '''
import numpy as np
from lvm_bench import dataset
from lvm_bench.data.images import Images, Splits

@dataset("new-data", label="New data")
def new_data(root):
    """Images of one's own."""
    stream = np.random.default_rng(0)
    def images(n):
        return Images(stream.integers(256, size=(n, 1, 8, 8), dtype=np.uint8), np.arange(n) % 2)
    return Splits(images(120), images(60), images(20))
''',
    "network": '''
from torch import nn
from lvm_bench import network

@network("new-net")
def new_net(shape, latent, heads, width):
    """A network of one's own."""
    c, h, w = shape
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, heads * latent))
    return encoder, nn.Sequential(nn.Linear(latent, c * h * w), nn.Unflatten(1, shape))
''',
    "metric": '''
from lvm_bench import metric

@metric("new_score", better="higher", of=("mean",), label="New score", table="latent")
def new_score(codes, neighbours):
    """A metric of one's own; higher is better."""
    return float(codes.abs().mean()) * neighbours
''',
    "extractor": '''
from lvm_bench import extractor
from lvm_bench.evaluation.features import Extractor

@extractor("new-features")
def new_features(request):
    """Features of one's own."""
    return Extractor("new-features", "new", "one's own", lambda x: x.flatten(1)[:, ::7] / 255, request.device)
''',
}

NAMES = {
    "method": "new-method", "dataset": "new-data", "network": "new-net", "metric": "new_score",
    "extractor": "new-features",
}  # fmt: skip

RUN = (
    "run", "--suite", "quick", "--seeds", "0", "--datasets", "new-data", "--extractor", "new-features",
    "--set=epochs=1", '--set=network="new-net"', "--set=latent=3", '--set=likelihood="sse"',
    '--set=metrics=["new_score", "collapsed_variance", "frechet"]', "--methods", "new-method", "--methods", "ae",
)  # fmt: skip

DRIVER = """
import json, sys
from click.testing import CliRunner
from lvm_bench.cli import main
from lvm_bench.execution import estimate
from lvm_bench.report.figures import draw
draw.write_all, estimate.tell = lambda *_: [], lambda *_, **__: True
results = [CliRunner().invoke(main, command, catch_exceptions=False) for command in json.loads(sys.argv[1])]
print(json.dumps([(result.exit_code, result.output) for result in results]))
"""

Outputs = list[tuple[int, str]]
Drive = Callable[[list[list[str]]], Outputs]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drive]:
    """Commands in this process, in an empty folder; what they register is forgotten afterwards."""
    from click.testing import CliRunner

    from lvm_bench.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lvm_bench.execution.estimate.tell", lambda *_, **__: True)
    monkeypatch.setattr("lvm_bench.report.figures.draw.write_all", lambda *_: [])

    def drive(commands: list[list[str]]) -> Outputs:
        results = [CliRunner().invoke(main, command, catch_exceptions=False) for command in commands]
        return [(result.exit_code, result.output) for result in results]

    yield drive
    for kind, name in NAMES.items():
        REGISTRIES[kind]._entries.pop(name, None)


def written(folder: Path, *kinds: str) -> list[Path]:
    """The files of these kinds of extension, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"new_{kind}.py" for kind in kinds]
    for file, kind in zip(files, kinds, strict=True):
        file.write_text(FILES[kind])
    return files


def in_the_package(folder: Path, here: Drive) -> tuple[list[Path], list[str], Drive]:
    """Dropped into the folders of a copy of the package, which git lists, and of the baselines beside it."""
    root = bench_toml.defaults_folder()
    copy = folder / "copy"
    for name in ("lvm_bench", "baselines"):
        shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(root / "results" / "published", copy / "results" / "published")
    shutil.copy(PACKAGED, copy)
    for git in (["init", "--quiet"], ["add", "lvm_bench", "baselines"]):
        subprocess.run(["git", *git], cwd=copy, check=True, timeout=60)
    wings = {"dataset": "data", "metric": "metrics", "network": "modelling", "extractor": "evaluation"}
    files = [file for kind, wing in wings.items() for file in written(copy / "lvm_bench" / wing, kind)]

    def drive(commands: list[list[str]]) -> Outputs:
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, json.dumps(commands)], cwd=folder, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(copy)}, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [tuple(each) for each in json.loads(done.stdout)]

    return [*files, *written(copy / "baselines", "method")], [], drive


def in_a_package_folder(folder: Path, here: Drive) -> tuple[list[Path], list[str], Drive]:
    """In a folder that the configuration names."""
    packages = f'packages = ["{(bench_toml.defaults_folder() / "baselines").as_posix()}", "new"]'
    (folder / "own.toml").write_text(PACKAGED.read_text().replace('packages = ["baselines"]', packages))
    return written(folder / "new", *FILES), ["--config", "own.toml"], here


def as_plugins(folder: Path, here: Drive) -> tuple[list[Path], list[str], Drive]:
    """Given with --plugin, a file each."""
    files = written(folder / "new", *FILES)
    return files, [word for file in files for word in ("--plugin", str(file))], here


@pytest.mark.parametrize("place", [in_the_package, in_a_package_folder, as_plugins], ids=lambda place: place.__name__)
def test_a_file_of_each_kind_is_listed_run_checked_and_reported(
    place: Callable[[Path, Drive], tuple[list[Path], list[str], Drive]], here: Drive, tmp_path: Path
) -> None:
    files, options, drive = place(tmp_path, here)
    checked = [str(file) for file in files if file.stem != "new_method"]  # `test_cli` checks one
    kinds = {kind: what for what, kind in catalogue.KINDS.items()}
    outputs = drive(
        [
            *(["list", kinds[kind], *options] for kind in FILES),
            [*RUN, *options, "--dry-run"],
            [*RUN, *options],
            ["check", *checked],
            ["report", "--suite", "quick", *([] if place is as_plugins else options)],
        ]
    )
    assert [code for code, _ in outputs] == [0] * len(outputs), outputs
    texts = [text for _, text in outputs]
    for kind, text in zip(FILES, texts, strict=False):
        assert f"\n{NAMES[kind]} " in f"\n{text}"
        assert "of one's own" in text
    assert "  New & shiny  " in texts[0]
    assert "  New data " in texts[1]
    assert "  New score  " in texts[3]
    assert "new-data/new-method/seed-0 " in texts[5]
    assert "network=new-net" in texts[5]
    assert texts[7].count(": ok ") == 10
    assert "The contract holds." in texts[7]
    folder = tmp_path / "results" / "quick"
    scores = json.loads((folder / "runs/new-data/new-method/seed-0/scores.json").read_text())
    assert {"new_score.mean", "frechet.fake@new-features"} <= scores.keys()
    # Without the plug-ins, the results tell how they are shown.
    latent = (folder / "tables" / "latent.md").read_text()
    assert "| New score ↑ |" in latent
    assert "| New & shiny |" in latent
    assert "New data" in latent
    assert latent.index("New & shiny") < latent.index("AE (no prior)")
    rendered = site_folder(folder) / "tables"
    assert r"New \& shiny" in (rendered / "latent.tex").read_text()
    assert "new_score" not in {file.stem for file in rendered.iterdir()}
    assert not (folder / "tables" / "other.md").exists()
    record = json.loads((folder / "runs/new-data/new-method/seed-0/job.json").read_text())
    told = {
        "methods": {"new-method": {"label": "New & shiny"}},
        "datasets": {"new-data": {"label": "New data"}},
        "metrics": {"new_score": {"better": "higher", "label": "New score", "table": "latent"}},
    }
    assert record.get("shown") == told
    assert json.loads((folder / "about.json").read_text()).get("shown") == told


@pytest.mark.parametrize("kind", FILES)
def test_a_plugin_of_one_kind_alone_joins_a_suite(kind: str, here: Drive, tmp_path: Path) -> None:
    (file,) = written(tmp_path, kind)
    settings = ["latent=2", 'likelihood="sse"', "epochs=1"]
    settings.append('network="new-net"' if kind == "network" else 'network="digits"')
    suite = resolve(
        PACKAGED,
        "quick",
        plugins=(file,),
        datasets=("new-data",) if kind == "dataset" else (),
        extractor="new-features" if kind == "extractor" else None,
        settings=tuple(settings),
    )
    assert file in suite.loaded
    assert ("new-method" in suite.methods) == (kind == "method")
    assert NAMES[kind] in REGISTRIES[kind]


def test_a_file_that_registers_nothing_is_answered_with_what_it_may_register(here: Drive, tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("x = 1\n")
    for command in (["run", "--suite", "quick"], ["list", "metrics"], ["report"]):
        ((code, text),) = here([[*command, "--plugin", "empty.py"]])
        assert code == 2
        assert "empty.py: registers nothing." in text
    ((code, text),) = here([["check", "empty.py"]])
    assert code == 2
    assert all(f"@{kind}('name'" in text for kind in REGISTRIES)


@pytest.mark.parametrize("kind", FILES)
def test_a_name_that_two_files_register_is_refused_with_both(kind: str, tmp_path: Path) -> None:
    first, second = written(tmp_path / "a", kind), written(tmp_path / "b", kind)
    with pytest.raises(UserError, match=rf"b.new_{kind}\.py: the .* is already registered by .*a.new_{kind}\.py"):
        extensions(PACKAGED, (*first, *second))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("codes, n", "cods, n"), "new_metric.py, line 4: the metric 'new_score' asks for 'cods', which no evidence "
         "provides. Did you mean 'codes'? Valid: codes, "),
        (('"mean",', '"men",'), "'new_score' is of 'men', and 'codes' has no such variant. Did you mean 'mean'?"),
        (('"latent"', '"latnt"'), "new_metric.py, line 4, table: 'latnt' is not valid: there is no such table. "
         "Did you mean 'latent'?"),
        (('"New score"', "5"), "line 4, label: 5 is not valid: give a line of at most 60 characters as a label."),
        (('"New score"', "NAME"), "line 4: label is not written out."),
        (('("mean",)', '"mean"'), "new_metric.py, line 4, of: 'mean' is not valid: give a tuple of variants, such as "
         "of=('mean',)."),
        (('("mean",)', "()"), "line 4: the metric 'new_score' has of=(): give a tuple of variants"),
    ],
)  # fmt: skip
def test_a_slip_in_a_metric_is_refused_when_its_file_is_loaded(
    change: tuple[str, str], told: str, here: Drive, tmp_path: Path
) -> None:
    file = tmp_path / "new_metric.py"
    file.write_text(FILES["metric"].replace(*change))
    for command in (["run", "--suite", "quick", "--plugin", "new_metric.py"], ["check", "new_metric.py"]):
        ((code, text),) = here([command])
        assert code == 2
        assert told in text
    assert not (tmp_path / "results").exists()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `outside` as pip would lay it out, with one method."""
    site = tmp_path / "site"
    (site / "outside-1.0.dist-info").mkdir(parents=True)
    (site / "outside-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (site / "outside-1.0.dist-info" / "entry_points.txt").write_text("[lvm_bench.plugins]\nany = outside_methods\n")
    (site / "outside_methods.py").write_text(
        'from lvm_bench import Method, method\n\n@method("outside")\nclass Outside(Method):\n    """From outside."""\n'
    )
    monkeypatch.syspath_prepend(site)
    return site


def test_a_method_of_an_installed_package_is_listed_and_loaded_when_named(installed: Path) -> None:
    assert ("outside", "", "From outside.") in catalogue.rows("methods", PACKAGED, ())
    suite = resolve(PACKAGED, "quick", methods=("outside",))
    assert [path.name for path in suite.loaded] == ["outside_methods.py"]
    assert "outside" not in resolve(PACKAGED, "quick").methods


def test_variants_are_listed_with_what_they_are_of() -> None:
    methods = catalogue.rows("methods", PACKAGED, ())
    assert ("rae-l2-gmm", "RAE-L2 (mixture)", "A variant of rae-l2.") in methods
    told = "A variant of avae in the suite ablation-beta-rule and of beta-tcvae in the suite ablation-tcvae-beta."
    assert ("beta-1", "", told) in methods
    assert ("mnist-12k", "MNIST (12,000 images)", "A variant of mnist.") in catalogue.rows("datasets", PACKAGED, ())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('@metric("slip", better="lowr", of=("mean",))\ndef slip(codes): ...\n', "Did you mean 'lower'"),
        ('@metric("a.b@c", better="lower", of=("mean",))\ndef slip(codes): ...\n', "other characters than letters"),
        ('NAME = "slip"\n@metric(NAME, better="lower", of=("mean",))\ndef slip(codes): ...\n', "is not written out"),
    ],
)
def test_slips_in_a_decorator_are_refused_before_any_work(text: str, told: str, here: Drive, tmp_path: Path) -> None:
    head = "from lvm_bench import metric, method, Method\n"
    plain = '@metric("plain_one", better="lower", of=("mean",))\ndef plain(codes): ...\n'
    (tmp_path / "slip.py").write_text(head + plain + text)
    try:
        ((code, output),) = here([["run", "--suite", "quick", "--methods", "ae", "--plugin", "slip.py"]])
    finally:
        for name in ("plain_one", "slip"):
            REGISTRIES["metric"]._entries.pop(name, None)
    assert code == 2
    assert "slip.py" in output
    assert told in output
    assert not (tmp_path / "results").exists()
