"""The reasons why rows miss their goal, a sentence each, by name. The numbers behind them are in the row's note."""

_FRECHET = (
    "two float64 covariances and the eigenvalues of one matrix are all that is left (the note has their seconds); the "
    "products alone at full speed and the eigenvalues would reach the goal only with nothing else around them"
)

HELD_BY: dict[str, str] = {
    "frechet-pytorch-fid": _FRECHET,
    "frechet-torch-fidelity": _FRECHET,
    "kid": (
        "float32 products of all pairs take most of it (the note has their seconds), and theirs, in float32 too, are "
        "1.4 times as many: only lower precision would make more of the difference"
    ),
    "knn-torch-fidelity": (
        "three float32 products, as theirs; ours has density and coverage besides, and settles in float64 what float32 "
        "cannot tell"
    ),
    "lpips": "four fifths of ours are convolutions, at about the speed of a float32 product (both sides' are the same)",
    "dci": "the threads grow trees at once only where scikit-learn lets go of Python's lock",
    "step-bf16": "what is no convolution costs as much in bfloat16 as in float32 (the note has both)",
    "evaluation": (
        "encoding, decoding and features, which are ours on both sides, take a large part of ours (the note has their "
        "seconds)"
    ),
    "report": "reading, tables and pages in Python, whose speed changes by a third on machines that others share",
    "run-many": (
        "importing torch takes 1.6 s (and, built for CUDA, 628 MiB), which the identity of a method needs; reading and "
        "checking 11,000 records takes as long"
    ),
}
