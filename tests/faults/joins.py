"""Results of two machines that are joined, committed scores that are removed, and seeds that were run anew."""

import shutil
from collections.abc import Callable

from .inside import crash_at
from .kills import compare
from .place import REPORT, SUITE, TINY, Item, Place, run
from .runners import RUN_FOLDER

METHOD = "aae"
BOTH = run(*TINY, methods=(METHOD,), seeds=(0, 1))
FIRST, SECOND = (run(*TINY, methods=(METHOD,), seeds=(seed,)) for seed in (0, 1))
OTHER, CHANGED = "--set=methods.aae.beta=2.5", "arguments.beta = 2.5"
DROP = ["drop", "--suite", SUITE, "--methods", METHOD]


def joins(make: Callable[[str], Place], crashes: int = 4) -> Item:
    """Merge what two machines made, whole, damaged and interrupted; drop; run one of two seeds anew."""
    item = Item(
        "Results that are joined",
        "Two machines train one seed each, and `merge` joins their results: whole ones, a damaged one, one of other "
        f"settings, and with a crash before {crashes} of its steps. `drop` removes committed scores; one of two seeds "
        "is run anew with other settings. In the end the results are those of one machine that ran both seeds.",
        ["what was done", "what the command said among others", "seconds"],
    )
    quiet, one, two = make("one-machine"), make("first-machine"), make("second-machine")
    for place, training in ((quiet, BOTH), (one, FIRST), (two, SECOND)):
        for words in (training, REPORT):
            ended = place.forked(words)
            item.expect(ended.code == 0, f"the undisturbed {words[0]} ended with {ended.code}: {ended.text[-500:]}")

    def meet(name: str, place: Place, words: list[str], code: int, said: str) -> None:
        ended = place.forked(words)
        text = " ".join(ended.text.split())
        item.expect(ended.code == code, f"{name}: {words[0]} ended with {ended.code}: {text[-500:]}")
        item.expect(said in text, f"{name}: {words[0]} did not say {said!r}: {text[-500:]}")
        item.rows.append([name, said, f"{ended.seconds:.1f}"])

    def finish(name: str, place: Place) -> None:
        for words in (BOTH, REPORT):
            ended = place.forked(words)
            item.expect(ended.code == 0, f"{name}: {words[0]} ended with {ended.code}: {ended.text[-500:]}")
        item.failures += [f"{name}: {text}" for text in compare(quiet, place)]

    def merge(place: Place, *more: Place) -> list[str]:
        return ["merge", *(str(made.results) for made in (one, *more)), "--into", str(place.results)]

    name, place = "two machines joined", make("joined")
    meet(name, place, merge(place, two), 0, "6 runs joined, 0 there already, 0 left out")
    finish(name, place)
    for k in range(1, crashes + 1):
        name, place = f"crashed before step {k} of `merge`", make(f"crashed-{k}")
        place.forked(merge(place, two), crash_at, k, place.folder / "steps.txt")
        place.forked(merge(place, two))
        finish(name, place)

    name, place, broken = "the second with a damaged file", make("of-damaged"), two.copy(make("damaged").folder)
    file = broken.results / RUN_FOLDER.with_name("seed-1") / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    meet(name, place, merge(place, broken), 1, "digits/aae/seed-1: is damaged")
    finish(name, place)

    name, place, changed = "the second with other settings", make("of-changed"), make("changed")
    changed.forked([*SECOND, OTHER])
    meet(name, place, merge(place, changed), 1, CHANGED)
    finish(name, place)

    name, place = "committed scores dropped", quiet.copy(make("dropped").folder)
    shutil.rmtree(place.results / RUN_FOLDER.parent)
    meet(name, place, DROP, 0, "Removed 2 runs")
    finish(name, place)

    name, place = "one of two seeds run anew with other settings", quiet.copy(make("stale").folder)
    shutil.rmtree(place.results / RUN_FOLDER.parent)
    place.forked([*FIRST, OTHER])
    meet(name, place, REPORT, 0, "the committed scores of seed 1 are stale")
    shutil.rmtree(place.results / RUN_FOLDER.parent)
    finish(name, place)
    return item
