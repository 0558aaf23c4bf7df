"""Wires the engine into nbgrader, nothing else. What is graded stands in `grader_config.py`."""

import os
import sys
from pathlib import Path

# nbgrader starts `alembic` by name when it makes a gradebook; without this, `.venv/bin/nbgrader` would not find it.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])

c = get_config()  # type: ignore[name-defined]  # noqa: F821 - provided by traitlets

c.CourseDirectory.course_id = "cnn-course"
c.CourseDirectory.solution_directory = "solutions"
# Wait for a formgrader that writes at the same time, rather than give up after five seconds.
c.CourseDirectory.db_url = f"sqlite:///{Path(__file__).resolve().parent / 'gradebook.db'}?timeout=60"

# Points and texts of notebooks and of the files beside them follow `grader_config.py` (docs/adapt.md).
c.GenerateAssignment.exporter_class = "autograder.nbgrader_plugin.ReleaseExporter"
c.GenerateSolution.exporter_class = "autograder.nbgrader_plugin.ReleaseExporter"
c.GenerateAssignment.post_convert_hook = "autograder.nbgrader_plugin.withhold_checkpoints"
c.Autograde.exporter_class = "autograder.nbgrader_plugin.SafeExporter"
c.Autograde.sanitize_preprocessors = [
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.DeduplicateIds",
    "nbgrader.preprocessors.OverwriteKernelspec",
    "nbgrader.preprocessors.OverwriteCells",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.Autograde.autograde_preprocessors = [
    "autograder.nbgrader_plugin.GradeInJail",
    "nbgrader.preprocessors.LimitOutput",
    "autograder.nbgrader_plugin.SafeMarkup",
    "autograder.nbgrader_plugin.WriteScores",
    "nbgrader.preprocessors.CheckCellMetadata",
    "autograder.nbgrader_plugin.RecordSubmission",  # in one transaction, what nbgrader's own steps commit cell by cell
]

c.GenerateFeedback.exporter_class = "autograder.feedback_plugin.FeedbackExporter"
c.GenerateFeedback.preprocessors = [
    "nbgrader.preprocessors.GetGrades",
    "autograder.feedback_plugin.ShowVisible",
    "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
]

# What students wrote must not run script in formgrader, which can set scores, or in a feedback page.
c.HTMLExporter.filters = {"markdown2html": "autograder.nbgrader_plugin.safe_markdown"}

# Late penalties (docs/course-life.md). All numbers are 0 until you choose: nothing is taken off.
c.AssignLatePenalties.plugin_class = "autograder.nbgrader_plugin.LatePolicy"
# c.LatePolicy.percent_per_day = 10  # of the score, for every day that has begun
# c.LatePolicy.points_per_day = 2  # of the submission, for every day that has begun
# c.LatePolicy.grace_minutes = 15
# c.LatePolicy.most_percent = 50
# c.LatePolicy.last_day = 7  # afterwards the submission counts 0

# Solutions and the instructor's own validation run outside the jail: they are the instructor's code.
c.Execute.timeout = 1800
# What a notebook imports, opens and shows travels with it, and so do checkpoints.
c.ZipCollectApp.collector_plugin = "nbgrader.plugins.zipcollect.FileNameCollectorPlugin"
c.FileNameCollectorPlugin.valid_ext = [
    *(".ipynb", ".py", ".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".npy", ".npz", ".csv", ".json", ".yaml"),
    *(".yml", ".toml", ".png", ".jpg", ".jpeg", ".gif"),
]
