"""bench.toml: one rule of precedence, and every mistake reported at once with its path and the way out."""

import re
from pathlib import Path
from typing import Any

import pytest

from lvm_bench.errors import UserError
from lvm_bench.registry import DATASETS
from lvm_bench.suites import bench_toml
from lvm_bench.suites.job import Suite
from lvm_bench.suites.resolve import resolve
from lvm_bench.text import setting_text

PACKAGED = bench_toml.defaults_folder() / "bench.toml"

TOML = """
packages = ["{packages}"]
[run]
checkpoint_seconds = 30
gpus_per_job = 1.0
[train]
width = 1.0
train_images = "all"
validation_images = "all"
batch_size = 100
learning_rate = 5e-4
patience = 5
factor = 0.5
threshold = 1e-4
threads = 1
epochs = 1
[evaluate]
extractor = "classifier"
protocol = "official-test"
weights = "last"
test_images = "all"
samples = 100
kid_subsets = 10
kid_subset_size = 50
neighbours = 5
classifier_epochs = 1
metrics = "all"
sap_samples = 30
dci_samples = 30
votes = 10
direction_images = 10
[datasets.digits]
network = "digits"
latent = 8
likelihood = "sse"
epochs = 2
[methods.vae]
beta = 1.0
epochs = 3
[methods.vae.digits]
epochs = 4
[methods.vae-strong]
base = "vae"
beta = 9.0
[suites.s]
methods = ["vae", "vae-strong", "ae"]
datasets = ["digits"]
seeds = [7]
{suite}
"""


def write(folder: Path, suite: str = "") -> Path:
    file = folder / "bench.toml"
    packages = (bench_toml.defaults_folder() / "baselines").as_posix()
    file.write_text(TOML.format(packages=packages, suite=suite))
    return file


def epochs(suite: Suite) -> dict[str, int]:
    return {job.method: job.training.epochs for job in suite.jobs}


def test_special_tables_win_over_general_ones_and_variants_inherit(tmp_path: Path) -> None:
    suite = resolve(write(tmp_path), "s")
    assert epochs(suite) == {"vae": 4, "vae-strong": 4, "ae": 2}
    assert {job.method: job.arguments.get("beta") for job in suite.jobs} == {"vae": 1.0, "vae-strong": 9.0, "ae": None}
    assert {job.method_base for job in suite.jobs} == {"vae", "ae"}


def test_a_plan_says_what_was_changed_of_the_suite_and_its_record_is_as_before_where_nothing_was(
    tmp_path: Path,
) -> None:
    file = write(tmp_path)

    def changed(*settings: str, **options: Any) -> dict[str, list[str]]:
        return {job.method: job.plan.changed for job in resolve(file, "s", settings=settings, **options).jobs}

    assert changed("epochs=9") == {name: [f"epochs {own} -> 9"] for name, own in epochs(resolve(file, "s")).items()}
    assert changed("methods.vae-strong.beta=2.0")["vae-strong"] == ["beta 9.0 -> 2.0"]
    assert changed("precision=bf16")["ae"] == ["precision float32 -> bf16"]
    assert changed(extractor="inception")["ae"] == ["extractor classifier -> inception"]
    assert {*map(tuple, changed("batch_size=100", "checkpoint_seconds=1").values())} == {()}
    assert [*resolve(file, "s").jobs[0].plan.record()] == ["description", "order", "seeds", "axis"]
    assert "changed" in resolve(file, "s", settings=("epochs=9",)).jobs[0].plan.record()


def test_a_suite_may_name_fewer_methods_and_seeds_for_a_data_set(tmp_path: Path) -> None:
    def jobs(text: str, **options: Any) -> list[tuple[str, int]]:
        file = write(tmp_path, f"[suites.s.dataset.digits]\n{text}")
        return [(job.method, job.seed) for job in resolve(file, "s", **options).jobs]

    assert jobs('methods = ["ae"]') == [("ae", 7)]
    assert jobs('methods = ["ae"]', methods=("vae",)) == [("vae", 7)]  # what the user asks for wins
    assert jobs("seeds = []", seeds=(3,), methods=("ae",)) == [("ae", 3)]
    for text, told in (
        (
            'methods = ["aee"]',
            r"suites.s.dataset.digits.methods: 'aee' is none of the suite's methods. Did you mean 'ae'",
        ),
        ("seeds = [8]", r"suites.s.dataset.digits.seeds: 8 is none of the suite's seeds. Valid: 7"),
        ("seeds = 7", r"seeds: 7 is not valid: give a list"),
    ):
        with pytest.raises(UserError, match=told):
            jobs(text)
    with pytest.raises(UserError, match=r"train.seeds: unknown key"):
        resolve(write(tmp_path, "[suites.s.train]\nseeds = [7]\n"), "s")


def test_metrics_are_all_or_names_of_metrics(tmp_path: Path) -> None:
    file = write(tmp_path, '[suites.s.evaluate]\nmetrics = ["sse", "migg"]\n')
    with pytest.raises(UserError, match=r"unknown metric 'migg'. Did you mean 'mig'"):
        resolve(file, "s")
    file = write(tmp_path, '[suites.s.evaluate]\nmetrics = ["sse", "mig"]\n')
    assert resolve(file, "s").jobs[0].evaluation.metrics == ["sse", "mig"]


def test_a_suites_own_tables_win_and_set_wins_over_all(tmp_path: Path) -> None:
    file = write(tmp_path, "[suites.s.train]\nepochs = 5\n[suites.s.method.vae]\nepochs = 6\n")
    assert epochs(resolve(file, "s")) == {"vae": 6, "vae-strong": 6, "ae": 5}
    assert set(epochs(resolve(file, "s", settings=("epochs=8",))).values()) == {8}
    dotted = resolve(file, "s", settings=("methods.ae.epochs=9",))
    assert epochs(dotted) == {"vae": 6, "vae-strong": 6, "ae": 9}


def test_the_packaged_suites_resolve_and_state_every_value() -> None:
    for name in bench_toml.suite_names(PACKAGED):
        suite = resolve(PACKAGED, name)
        fewer = 15 if name == "disentanglement-small" else 0  # scenes3d: three methods of seven, two seeds of three
        assert len(suite.jobs) == len(suite.methods) * len(suite.datasets) * len(suite.seeds) - fewer
    paper = resolve(PACKAGED, "paper")
    assert len(paper.jobs) == 90
    settings = {(job.dataset, job.method): job for job in paper.jobs}
    assert settings["mnist", "vae"].training.epochs == 100
    assert settings["mnist", "avae"].training.epochs == 50
    assert settings["celeba", "avae"].arguments["m"] == 20000
    assert settings["cifar10", "rae-l2"].arguments == {
        "beta": 1e-3, "decoder_l2": 1e-6, "density": "gaussian", "penalise_dense": False,
    }  # fmt: skip
    assert {s.training.latent for (d, _), s in settings.items() if d == "cifar10"} == {128}


def test_the_axis_of_a_suite_is_a_setting_or_an_argument(tmp_path: Path) -> None:
    for axis in ("latent", "beta", "samples"):
        suite = resolve(write(tmp_path, f'axis = "{axis}"\n'), "s")
        assert {job.plan.axis for job in suite.jobs} == {axis}
    assert {job.plan.axis for job in resolve(write(tmp_path), "s").jobs} == {""}
    with pytest.raises(UserError, match=r"suites.s.axis: 'betta' is no setting .* Did you mean 'beta'"):
        resolve(write(tmp_path, 'axis = "betta"\n'), "s")


def test_a_suite_names_a_source_of_published_numbers_that_exists(tmp_path: Path) -> None:
    plan = resolve(write(tmp_path, 'published = "evae-2025"\n'), "s").jobs[0].plan
    assert plan.record()["published"] == "evae-2025"
    with pytest.raises(UserError, match=r"suites.s.published: unknown .* 'evae'. Did you mean 'evae-2025'"):
        resolve(write(tmp_path, 'published = "evae"\n'), "s")


def test_the_methods_of_an_ablation_differ_in_its_axis_and_what_goes_with_it() -> None:
    for name in filter(lambda name: name.startswith("ablation-"), bench_toml.suite_names(PACKAGED)):
        suite = resolve(PACKAGED, name)
        settings = [{**job.scores_settings(), **job.arguments} for job in suite.jobs if job.seed == 0]
        differing = {key for key in settings[0] if len({str(table[key]) for table in settings}) > 1}
        axis = suite.jobs[0].plan.axis
        assert differing - {"arguments", "beta" if axis == "beta_rule" else axis} <= {axis}
        assert len({str(table[axis]) for table in settings}) == len(settings)


def test_every_mistake_is_reported_at_once(tmp_path: Path) -> None:
    mistakes = (
        '[suites.s.train]\nepochz = 5\nbatch_size = "ten"\nfactor = 2.0\n'
        '[suites.s.method.vae]\nbetta = 1.0\n[suites.s.dataset.digits]\nnetwork = "digit"\n'
    )
    with pytest.raises(UserError) as caught:
        resolve(write(tmp_path, mistakes), "s")
    text = str(caught.value)
    for part in (
        "suites.s.train.epochz: unknown key. Did you mean 'epochs'?",
        "suites.s.train.batch_size: 'ten' is not valid: input should be a valid integer",
        "suites.s.train.factor: 2.0 is not valid: input should be less than 1",
        "suites.s.method.vae.betta: unknown key. Did you mean 'beta'?",
    ):
        assert part in text
    assert len(text.splitlines()) == len(set(text.splitlines()))


def test_unknown_names_are_answered_with_the_nearest(tmp_path: Path) -> None:
    file = write(tmp_path)
    for arguments, answer in (
        ({"suite": "t"}, "unknown suite 't'"),
        ({"suite": "s", "methods": ("vea",)}, "unknown method 'vea'. Did you mean 'vae'?"),
        ({"suite": "s", "datasets": ("digit",)}, "unknown data set 'digit'. Did you mean 'digits'?"),
        ({"suite": "s", "extractor": "incep"}, "unknown feature extractor 'incep'"),
        ({"suite": "s", "settings": ("epoch=3",)}, "Did you mean 'epochs'?"),
        ({"suite": "s", "settings": ("epochs",)}, "write key=value"),
        ({"suite": "s", "settings": ('network="digit"',)}, "unknown network 'digit'. Did you mean 'digits'?"),
    ):
        with pytest.raises(UserError) as caught:
            resolve(file, **arguments)
        assert answer in str(caught.value)


def test_a_broken_toml_and_a_missing_file_are_sentences(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text("[train\n")
    with pytest.raises(UserError, match=r"not valid TOML: .*line 1"):
        bench_toml.read(tmp_path / "bench.toml")
    with pytest.raises(UserError, match="there is no such configuration file"):
        bench_toml.config_file(tmp_path / "other.toml")


def test_what_a_data_set_without_a_table_lacks_can_be_given_as_the_error_says(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        'from lvm_bench import dataset\n\n@dataset("mine")\ndef mine(root, *, path: str):\n    """Mine."""\n'
    )
    file, given = write(tmp_path), {"datasets": ("mine",), "plugins": (tmp_path / "mine.py",)}
    with pytest.raises(UserError) as caught:
        resolve(file, "s", **given)
    settings = tuple(dict.fromkeys(re.findall(r"--set (\S+)", str(caught.value))))
    assert settings == (
        "datasets.mine.path=VALUE", "datasets.mine.network=digits", "datasets.mine.latent=8",
        "datasets.mine.likelihood=sse",
    )  # fmt: skip
    job = resolve(file, "s", settings=settings, **given).jobs[0]
    DATASETS._entries.pop("mine")
    assert (job.options["path"], job.training.network, job.training.latent) == ("VALUE", "digits", 8)


@pytest.mark.parametrize(
    ("name", "place"), [("vae-strong", "methods.vae-strong"), ("vae-own", "suites.s.method.vae-own")]
)
def test_a_method_by_the_name_of_a_variant_is_told_with_both_places(name: str, place: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(f'from lvm_bench import Method, method\n\n@method("{name}")\nclass Mine(Method):\n    """M."""\n')
    with pytest.raises(UserError) as caught:
        resolve(write(tmp_path, '[suites.s.method.vae-own]\nbase = "vae"\n'), "s", plugins=(mine,))
    assert str(caught.value) == (
        f"bench.toml, {place}.base: {name!r} is a variant here and a method of {mine}. Rename one of the two."
    )


def test_a_value_in_the_place_of_a_table_is_named(tmp_path: Path) -> None:
    file = write(tmp_path)
    file.write_text(file.read_text().replace("[methods.vae-strong]", "[methods]\nae = 3\n[methods.vae-strong]"))
    with pytest.raises(UserError, match=r"methods\.ae: must be a table, written \[methods\.ae\]"):
        resolve(file, "s")


def test_a_plugin_that_is_no_method_is_a_sentence_with_its_line(tmp_path: Path) -> None:
    plain = tmp_path / "plain.py"
    plain.write_text('from lvm_bench import method\n\n@method("plain")\nclass Plain:\n    """Plain."""\n')
    suite = resolve(write(tmp_path), "s", plugins=(plain,))
    assert "plain.py, line 3: @method('plain') decorates" in suite.broken["plain"]


def test_a_plugin_joins_the_suite_and_a_broken_one_does_not_stop_it(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text('from lvm_bench import Method, method\n\n@method("good")\nclass Good(Method):\n    """Good."""\n')
    bad.write_text('from lvm_bench import method\nx = 1 / 0\n@method("bad")\nclass Bad:\n    """Bad."""\n')
    suite = resolve(write(tmp_path), "s", plugins=(good, bad))
    assert [job.method for job in suite.jobs] == ["vae", "vae-strong", "ae", "good"]
    assert "bad.py, line 2: raised ZeroDivisionError" in suite.broken["bad"]
    assert good.resolve() in suite.loaded


@pytest.mark.parametrize(
    ("text", "settings", "told"),
    [
        ("", ("methods.vea.beta=2",), r"--set methods.vea.beta: unknown method 'vea'. Did you mean 'vae'"),
        ("", ("datasets.digit.latent=4",), r"--set datasets.digit.latent: unknown data set 'digit'"),
        ("[datasets.digit]\nlatent = 4", (), r"datasets.digit: unknown data set 'digit'"),
        ("[suites.s.dataset.digit]\nseeds = [7]", (), r"suites.s.dataset.digit: unknown data set 'digit'"),
        ("[suites.s.method.vae.digit]\nepochs = 1", (), r"suites.s.method.vae.digit: unknown data set 'digit'"),
    ],
)  # fmt: skip
def test_a_table_of_a_misspelt_name_is_no_table_of_nothing(
    text: str, settings: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=told):
        resolve(write(tmp_path, text), "s", settings=settings)


def test_a_table_of_a_plugins_method_may_stand_there_without_the_plugin(tmp_path: Path) -> None:
    assert resolve(write(tmp_path, "[methods.mine]\nbeta = 2.0"), "s").jobs


@pytest.mark.parametrize(
    ("name", "default", "value"),
    [
        ("precision", "float32", "bf16"),
        ("seeds_per_batch", 1, 5),
        ("streams", "single", "paired"),
        ("betas", [0.9, 0.999], (0.5, 0.999)),
        ("flips", "false", True),
    ],
)
def test_a_setting_at_its_default_leaves_the_identity_of_runs_from_before_it(
    name: str, default: object, value: object, tmp_path: Path
) -> None:
    file = write(tmp_path)
    first, told, other = (
        resolve(file, "s", methods=("vae",), settings=settings).jobs[0]
        for settings in ((), (f"{name}={default}",), (f"{name}={setting_text(value)}",))
    )
    assert name not in first.weights_settings()
    assert first.weights_settings() == told.weights_settings()
    assert other.weights_settings() == first.weights_settings() | {name: value}


def test_betas_outside_0_to_1_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"betas: \[0.5, 1.0\] is not valid: .*less than 1"):
        resolve(write(tmp_path), "s", settings=("betas=[0.5, 1.0]",))


def test_a_precision_that_is_none_is_named(tmp_path: Path) -> None:
    file = write(tmp_path)
    with pytest.raises(UserError, match="'fp8' is not valid: input should be 'float32', 'tf32' or 'bf16'"):
        resolve(file, "s", settings=("precision=fp8",))


def test_the_example_of_own_images_is_a_data_set_as_it_stands(tmp_path: Path) -> None:
    before, example, after = PACKAGED.read_text().partition("# [datasets.mine]\n")
    lines, rest = after.split("\n\n", 1)
    own = "\n".join(line.removeprefix("# ") for line in lines.splitlines())
    file = tmp_path / "bench.toml"
    text = f"{before}[datasets.mine]\n{own}\n\n{rest}"
    file.write_text(text.replace('packages = ["baselines"]', f'packages = ["{PACKAGED.parent / "baselines"}"]'))
    jobs = resolve(file, "quick", datasets=("mine",), methods=("vae",)).jobs
    assert example
    assert {(job.dataset_base, job.options["path"], job.training.network) for job in jobs} == {
        ("npz", "mine.npz", "conv")
    }


def test_an_option_that_came_later_leaves_the_identity_of_runs_from_before_it(tmp_path: Path) -> None:
    own = '[datasets.pics]\nbase = "folder"\npath = "pics"\nnetwork = "digits"\nlatent = 4\nlikelihood = "sse"\n'
    options = []
    for line in ("", 'background = "white"\nchannels = 3\n', "channels = 1\n"):
        file = write(tmp_path)
        file.write_text(f"{file.read_text()}\n{own}{line}")
        options.append(resolve(file, "s", methods=("vae",), datasets=("pics",)).jobs[0].options)
    assert options[0] == options[1] == {"path": "pics", "test_path": None, "size": 64, "crop": None}
    assert options[2] == options[0] | {"channels": 1}
