"""A suite's claims.csv: the paper's claims held against the suite's own scores."""

from pathlib import Path

import pandas as pd

from lvm_bench.report.write import emit


def test_claims_are_true_false_or_left_open(tmp_path: Path) -> None:
    rows = [
        ("mnist", method, seed, f"{metric}{end}", value + 0.1 * slope * seed, "")
        for metric, best, end in (("frechet.fake", 1.0, "@classifier"), ("gaussian_kl_target", 3.0, ".mean"))
        for method, value, slope in (("avae", best, 1), ("vae", 2.0, 2), ("rae-l2", 4.0, 3))
        for seed in (0, 1, 2)
    ]
    rows += [("mnist", method, 0, "mse.heldout", value, "") for method, value in (("avae", 3.0), ("vae", 2.0))]
    columns = ["dataset", "method", "seed", "metric", "value", "digest"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "scores.csv", index=False)
    (tmp_path / "about.json").write_text('{"extractor": "classifier", "methods": ["avae", "vae", "rae-l2"]}')
    emit(tmp_path)
    claims = pd.read_csv(tmp_path / "claims.csv", dtype=str, keep_default_na=False).set_index("id")
    assert claims.loc["avae-samples-best", "here"] == "True"
    assert claims.loc["avae-kl-best", "here"] == "False"
    assert tuple(claims.loc["avae-cifar10-best", ["here", "verdict"]]) == ("", "cannot be tested here")
    told = claims[claims["verdict"].str.startswith("cannot be told from ")]
    assert {*told["here"]} == {""}
    assert "avae 1.1, " in claims.loc["avae-samples-best", "numbers"] + ", "
