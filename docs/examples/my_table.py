"""A table of one's own: reconstruction against samples, as Markdown and as LaTeX, from a suite's scores."""

import lvm_bench

COLUMNS = {"sse.heldout": "SSE", "frechet.fake@classifier": "FD of samples"}

frame = lvm_bench.scores("mnist-small")  # dataset, method, seed, metric, value
chosen = frame[frame.metric.isin(COLUMNS)]
means = chosen.pivot_table("value", "method", "metric", "mean", observed=True)[[*COLUMNS]].rename(columns=COLUMNS)
table = means.dropna().sort_values("FD of samples").round(2)

for method, row in table.iterrows():
    print(f"| {method} | {row.iloc[0]:.2f} | {row.iloc[1]:.2f} |")
table.to_csv("my_table.csv")
with open("my_table.tex", "w") as file:
    file.write(table.style.format(precision=2).to_latex(hrules=True))
