"""A suite's claims.csv: the paper's claims held against the suite's own scores."""

from pathlib import Path

import pandas as pd

from lvm_bench.report.write import emit


def test_claims_are_true_false_or_left_open(tmp_path: Path) -> None:
    rows = [
        ("mnist", method, 0, "frechet.fake@classifier", value, "")
        for method, value in (("avae", 1.0), ("vae", 2.0), ("rae-l2", 3.0))
    ]
    rows += [("mnist", method, 0, "gaussian_kl_target.mean", v, "") for method, v in (("avae", 3.0), ("vae", 2.0))]
    columns = ["dataset", "method", "seed", "metric", "value", "digest"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "scores.csv", index=False)
    (tmp_path / "about.json").write_text('{"extractor": "classifier", "methods": ["avae", "vae", "rae-l2"]}')
    emit(tmp_path)
    claims = pd.read_csv(tmp_path / "claims.csv", dtype=str, keep_default_na=False).set_index("id")
    assert claims.loc["avae-samples-best", "here"] == "True"
    assert claims.loc["avae-kl-best", "here"] == "False"
    assert claims.loc["avae-cifar10-best", "here"] == ""
    assert "avae 1, " in claims.loc["avae-samples-best", "numbers"] + ", "
