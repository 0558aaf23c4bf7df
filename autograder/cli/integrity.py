"""The command `autograder integrity`: what is alike between submissions, and which models know the test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.text import Text

from autograder.cli.shared import GraderOptions, choose_assignment, choose_students, count, make_console
from autograder.core.config import load_course
from autograder.core.text import clean_name, one_line
from autograder.course.folder import NbCourse, open_course
from autograder.course.groups import load_groups
from autograder.course.report_store import load_reports
from autograder.judging import datasets
from autograder.judging.job import read_job
from autograder.review.integrity.clusters import clusters_of
from autograder.review.integrity.memorised import HOLD_OUT, read_hold_out
from autograder.review.integrity.page import integrity_folder, write_page
from autograder.review.integrity.signals import Findings
from autograder.review.integrity.staged import SurveySetup
from autograder.review.integrity.survey import Models, survey

MOST_SHOWN = 10
MOST_MEMBERS = 6  # of a group, by name


@dataclass(frozen=True)
class IntegrityOptions(GraderOptions):
    """What was given to `autograder integrity`."""

    assignment: str | None
    hold_out: Path | None
    no_models: bool


def survey_submissions(given: IntegrityOptions) -> None:
    """Write a page for the staff about submissions that are alike, and about models that know the test set."""
    if given.hold_out is not None and given.no_models:
        raise click.UsageError("--hold-out needs the models to be run: leave out --no-models")
    root = given.course_root
    course = load_course(root)
    name = choose_assignment(course, given.assignment)
    nb_course = open_course(root)
    submissions = choose_students(nb_course.submissions(name), (), nb_course, name)
    ground = SurveySetup(root, course, name, Path(nb_course.folder("release", ".", name)))
    models = None
    if ground.with_weights is not None and not given.no_models:
        models = open_models(given, nb_course, name)
    console = make_console()
    groups = {s: group for group, members in load_groups(root, name).members.items() for s in members}
    with console.status("Reading submissions …") as status:
        found = survey(
            ground,
            submissions,
            load_reports(root, name),
            models=models,
            groups=groups,
            on_start=lambda student: status.update(
                Text(f"Reading {clean_name(student)} …" if student else "Comparing all pairs …")
            ),
        )
    print_summary(found, write_page(integrity_folder(root, name), found))


def open_models(given: IntegrityOptions, course: NbCourse, name: str) -> Models:
    """What running models takes: the test set, a jail for the runner, and the hold-out where there is one."""
    grader, hold_out = given.open_grader(course, name), given.hold_out
    classes = datasets.load(grader.source, "test").classes
    return Models(read_job(grader.setup), read_hold_out(hold_out.resolve(), classes) if hold_out else None)


def in_words(members: Sequence[str]) -> str:
    """The first of a group by name, and how many more there are."""
    named = [clean_name(member) for member in members[:MOST_MEMBERS]]
    more = len(members) - len(named)
    *others, last = [*named, f"{more} more"] if more else named
    return f"{', '.join(others)} and {last}"


def print_summary(found: Findings, path: Path) -> None:
    """The most alike groups, how much there is to look at, and where."""
    clusters = clusters_of(found.pairs)
    for cluster in clusters[:MOST_SHOWN]:
        click.echo(f"{in_words(cluster.members)}: {one_line(cluster.what)}")
    for pair in found.copies[:MOST_SHOWN]:
        click.echo(f"{clean_name(pair.one)} and {clean_name(pair.other)}: {one_line(pair.what)}")
    out = [m for m in found.models if any(c.stands_out for c in m.comparisons)]
    alike = f"{count(clusters, 'group')} of alike ones ({count(found.pairs, 'pair')})"
    click.echo(
        f"{count(found.students, 'submission')}: {alike}, {len(found.copies)} like "
        f"something of the course's, {count(out, 'model')} that stand out on other images. No mark changes by this."
    )
    if found.models and not any(c.what == HOLD_OUT for m in found.models for c in m.comparisons):
        click.echo("Without --hold-out, a model that was trained on the test images with augmentation may not show.")
    open_ends = len(found.problems) + sum(bool(model.problem) for model in found.models)
    if open_ends:
        click.echo(f"{count(range(open_ends), 'thing')} could not be looked at: see the end of the page.")
    click.echo(f"For the staff only: {one_line(str(path))}")
