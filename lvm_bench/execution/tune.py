"""`lvm-bench tune`: trials scored on the validation split, the choice, and what that is worth on the test split.

Both stages are suites that the runner works on, so that they are resumed, shared and listed as any other.
"""

import math
from pathlib import Path
from typing import Any

import click

from lvm_bench.errors import RunError, Stopped, UserError
from lvm_bench.evaluation.score import Scores
from lvm_bench.execution.command import Options, run_jobs, run_suite
from lvm_bench.execution.job_data import load_data, require_enough
from lvm_bench.execution.named_score import NamedScore, named_score
from lvm_bench.execution.stopping import Stop
from lvm_bench.output import Volume
from lvm_bench.runs import choice as choices
from lvm_bench.runs.choice import Choice, Trial
from lvm_bench.runs.layout import SCORES
from lvm_bench.runs.score_files import scores_of
from lvm_bench.runs.standing import State, left, survey, surveyed
from lvm_bench.suites.job import Job, Suite
from lvm_bench.suites.search import Search, search_seed, search_suite, searches, trial_name, tuned_suite
from lvm_bench.text import counted, printable, setting_text


def tune(whole: Suite, chosen: Suite, trials: int, by: str | None, given: Options, stop: Stop) -> int:
    """Search the settings of the chosen methods of a suite, then measure them; the exit code of the command.

    UserError before any work for what cannot be searched, and when the results hold another search.
    """
    score, found, seed = named_score(chosen.jobs, by), searches(whole, chosen, trials), search_seed(whole)
    tried = [each for each in found if each.ranges]
    search = search_suite(chosen, tried, seed, score.metric)
    place = given.results / tuned_suite(chosen, {}, "").name
    _require_fresh(chosen, seed)
    _require_test_split(chosen)
    _require_same_search(place, tried, trials, score, seed)
    _require_enough(search, given)
    for method in dict.fromkeys(each.job.method for each in found if not each.ranges):
        _say(f"{method} has no range to draw from: its own settings stand for it.")
    if given.volume != Volume.QUIET:
        _say(f"Search by {score.stem} ({score.better} is better) on the validation split, seed {seed}: {search.name}.")
    try:
        run_jobs(search, given, stop)
    except Stopped:
        return stop.exit_code
    made = [_choice(each, search, chosen, score, given.results) for each in tried]
    if all(choice.best.score is None for choice in made):
        raise RunError(f"No trial has a score {score.stem}, so nothing is chosen. See {given.results / search.name}.")
    for choice in made:
        choices.write(place, choice)
        _say(_told(choice))
    text = f"{chosen.name} with the settings of its methods, and with those of {trials} trials by {score.stem}"
    return run_suite(tuned_suite(chosen, _settings(choices.read(place)), text), given, stop)


def _settings(read: list[Choice]) -> dict[tuple[str, str], dict[str, Any]]:
    """The chosen settings by data set and method, where they are not the method's own."""
    return {(each.dataset, each.method): dict(each.best.settings) for each in read if each.chosen}


def _require_fresh(chosen: Suite, seed: int) -> None:
    """UserError where a seed that measures is the one that the search is made with."""
    if seed in {job.seed for job in chosen.jobs}:
        raise UserError(f"--seeds {seed}: the search is made with this seed. Measure with others.")


def _require_test_split(chosen: Suite) -> None:
    """UserError where a suite measures on the split that the search chooses on."""
    for job in chosen.jobs:
        if job.evaluation.protocol != "official-test":
            raise UserError(
                f"The suite {chosen.name} measures {job.dataset} on the validation split (protocol = "
                f'"{job.evaluation.protocol}"), on which a search chooses. Give --set protocol=official-test.'
            )


def _require_enough(search: Suite, given: Options) -> None:
    """TooFewImages where the validation split of a data set with trials to run is too small for the score."""
    todo = (job for job, standing in surveyed(search, given.results) if left(standing) and not job.is_control)
    for job in {job.dataset: job for job in todo}.values():
        require_enough(job, load_data(job, given.root))


def _require_same_search(place: Path, found: list[Search], trials: int, score: NamedScore, seed: int) -> None:
    """UserError where other methods of the tuned suite were chosen in another way: they would not compare."""
    here = {(each.job.dataset, each.job.method): score.key(each.job) for each in found}
    for other in choices.read(place):
        key = here.get((other.dataset, other.method))
        if key is None and (len(other.trials), other.score.partition("@")[0], other.seed) != (trials, score.stem, seed):
            raise UserError(
                f"{place}: {other.method} on {other.dataset} was chosen of {counted(len(other.trials), 'trial')} by "
                f"{other.score} with seed {other.seed}. Search all methods alike: give --trials {len(other.trials)} "
                f"--by {other.score}, leave --methods and --datasets out, or use another folder with --results."
            )


def _choice(search: Search, suite: Suite, chosen: Suite, score: NamedScore, results: Path) -> Choice:
    """The best trial of a method, by the scores of its runs. UserError where no finished run has such a score."""
    job = search.job
    names = [trial_name(job.method, k) for k in range(len(search.trials))]
    jobs = {own.method: own for own in suite.jobs if own.dataset == job.dataset and own.method in names}
    key, keys, trials = score.key(job), set[str](), []
    for settings, name in zip(search.trials, names, strict=True):
        trial, scores = _trial(search.own | settings, jobs[name], key, results)
        trials.append(trial)
        keys |= {*scores}
    if keys and key not in keys:
        raise UserError(
            f"--by {score.stem}: no trial of {job.method} has this score. They have {', '.join(sorted(keys))}."
        )
    label = next(iter(jobs[names[0]].shown["methods"].values()))["label"].removesuffix(", trial 0")
    return Choice(
        suite=chosen.name,
        dataset=job.dataset,
        method=job.method,
        label=label,
        score=key,
        better=score.better,
        seed=jobs[names[0]].seed,
        ranges={name: job.ranges[name][1] for name in search.ranges},
        trials=trials,
        chosen=choices.best_of([trial.score for trial in trials], score.better),
    )


def _trial(settings: dict[str, Any], job: Job, key: str, results: Path) -> tuple[Trial, Scores]:
    """What became of the run of a trial, and all its scores."""
    standing = survey(job, results)
    record = standing.record
    seconds = sum(record.get(name) or 0.0 for name in ("seconds_training", "seconds_evaluation"))
    if standing.state != State.DONE:
        if standing.state not in (State.FAILED, State.DECLINED):
            raise RunError(f"{standing.folder}: is {standing.state.value}. Give the same command again.")
        return Trial(settings=settings, reason=record.get("reason", "")[:200], seconds=seconds), {}
    scores = scores_of((standing.folder / SCORES).read_bytes())
    value = scores.get(key, math.nan)
    if not math.isfinite(value):
        reason = f"{key} is {value}" if key in scores else str(record.get("reason") or f"has no {key}")[:200]
        return Trial(settings=settings, reason=reason, seconds=seconds), scores
    return Trial(settings=settings, score=value, seconds=seconds), scores


def _told(choice: Choice) -> str:
    """A sentence on what was chosen."""
    own, best = choice.own, choice.best
    failed = f" {choice.failed} of {counted(len(choice.trials), 'trial')} gave no score." if choice.failed else ""
    if not choice.chosen:
        kept = "no trial has a score, so that" if best.score is None else f"{choice.score} {best.score:.4g}:"
        return f"{choice.method} on {choice.dataset}: {kept} its own settings stay.{failed}"
    values = ", ".join(f"{name} = {setting_text(value)}" for name, value in best.settings.items())
    before = "none" if own.score is None else f"{own.score:.4g}"
    return (
        f"{choice.method} on {choice.dataset}: trial {choice.chosen} ({values}), {choice.score} {best.score:.4g}, with "
        f"its own settings {before}.{failed}"
    )


def _say(text: str) -> None:
    click.echo(printable(text), err=True)
