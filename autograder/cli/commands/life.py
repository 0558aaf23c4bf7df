"""`autograder extensions`, `groups` and `forget`: what they take."""

from __future__ import annotations

from typing import Any

import click

from autograder.cli.options import assignment_argument, course_option, examples, existing_file


@click.command(
    "extensions",
    epilog=examples(
        "autograder extensions extensions.csv --dry-run",
        "autograder extensions extensions.csv hw1 --time-zone Europe/Vienna",
    ),
)
@click.argument("file", type=existing_file)
@assignment_argument
@click.option(
    "--time-zone",
    "zone_name",
    metavar="NAME",
    help="Zone of times in FILE that have none.  [default: that of the due date in grader_config.py, else this "
    "machine's]",
)
@click.option("--dry-run", is_flag=True, help="Show what would change, and touch nothing.")
@course_option
def extensions_command(**options: Any) -> None:
    """Give students more time, as a CSV file says, and take back the late penalties that it undoes.

    FILE has the column student, and until (a date and a time) or days and hours after the due date; 0 days take an
    extension back. Students who are not in FILE keep what they have. Who has not handed in yet gets the extension when
    they do. Nothing is graded again.

    \b
    Exit codes: 0 done; 1 FILE, the due date or the gradebook cannot be used: the message says why; 2 wrong usage.
    """
    from autograder.cli.life import give_extensions

    give_extensions(**options)


@click.command(
    "groups",
    epilog=examples("autograder groups groups.csv", "autograder groups groups.csv hw1 --course ~/courses/ml"),
)
@click.argument("file", type=existing_file)
@assignment_argument
@course_option
def groups_command(**options: Any) -> None:
    """Take up who works together: one submission, marks for all members.

    FILE is a CSV file with the columns group and student, and replaces the groups that there were. What one member has
    handed in is copied to the others, so that each is graded, shown and given feedback; the latest of several
    submissions counts. `autograder grade` keeps copies up to date. Manual marks that one member is given go to all.

    \b
    Exit codes: 0 done; 1 FILE or a folder cannot be used: the message says why; 2 wrong usage.
    """
    from autograder.cli.life import take_up_groups

    take_up_groups(**options)


@click.command("forget", epilog=examples("autograder forget ada", "autograder forget ada --yes"))
@click.argument("student")
@click.option("--yes", is_flag=True, help="Do not ask.")
@course_option
def forget_command(**options: Any) -> None:
    """Delete everything that the course's folder holds of a student, after showing the list.

    Submissions, feedback, marks, reports, what was set aside or replaced, records, and kept results that only this
    student's work is behind. Pages and exports about everybody are deleted, too: write them anew. At the end it says
    which files still mention the student.

    \b
    Exit codes: 0 deleted; 1 not, or not all: the message says why; 2 wrong usage, or nobody of this name.
    """
    from autograder.cli.life import forget_student

    forget_student(**options)
