"""The command `autograder`: parse, call one function, print; one error boundary for all commands."""

from __future__ import annotations

import sys
import tempfile
import traceback
from typing import Any

import click

from autograder import __version__
from autograder.cli.commands.check import check_command
from autograder.cli.commands.collect import collect_command
from autograder.cli.commands.doctor import doctor_command
from autograder.cli.commands.explain import explain_command
from autograder.cli.commands.export import export_command
from autograder.cli.commands.feedback import feedback_command
from autograder.cli.commands.grade import grade_command
from autograder.cli.commands.integrity import integrity_command
from autograder.cli.commands.life import extensions_command, forget_command, groups_command
from autograder.cli.commands.mark import mark_command
from autograder.cli.commands.report import report_command
from autograder.cli.commands.whatif import whatif_command
from autograder.cli.ending import NOTHING_GRADED, complain
from autograder.cli.options import examples
from autograder.core.errors import AutograderError
from autograder.core.machine_faults import disk_problem


class Commands(click.Group):
    """The error boundary: a known problem is one message with its remedy, anything else points to a file."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AutograderError as error:
            if ctx.params.get("debug"):
                raise
            complain(str(error))
            ctx.exit(NOTHING_GRADED)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            if isinstance(error, OSError) and (problem := disk_problem(error)):
                complain(problem)
                ctx.exit(NOTHING_GRADED)
            with tempfile.NamedTemporaryFile(
                "w", prefix="autograder-error-", suffix=".log", delete=False, encoding="utf-8"
            ) as file:
                file.write(traceback.format_exc())
            complain(f"Grader error, not yours: {type(error).__name__}: {error}. Details: {file.name} (or use --debug)")
            ctx.exit(NOTHING_GRADED)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples("autograder doctor", "autograder grade hw1", "autograder grade --help"),
)
@click.version_option(__version__, prog_name="autograder")
@click.option("--debug", is_flag=True, help="Show a traceback where something goes wrong.")
def main(debug: bool) -> None:
    """Grade deep-learning notebooks without running student code where scores are computed.

    Run `autograder doctor` first: it says what is missing on this machine, and the remedies.

    \b
    Exit codes of all commands:
      0  done; when grading: everything was graded
      1  nothing could be graded: the message says what is missing
      2  wrong usage: an unknown command, option, assignment or student
      3  some submissions were not graded through the grader's own fault, not collected, or not compared
      130  grading was stopped with Ctrl-C: what was recorded until then stays
    """


for command in (
    doctor_command,
    collect_command,
    grade_command,
    check_command,
    mark_command,
    report_command,
    whatif_command,
    explain_command,
    export_command,
    feedback_command,
    integrity_command,
    extensions_command,
    groups_command,
    forget_command,
):
    main.add_command(command)

if __name__ == "__main__":
    sys.exit(main())
