"""What an instructor should know of a submission and no grader can refuse: flags, which cost no points.

Each is a valid answer by the rules, so it is graded as it is. A flag says what was seen, how often an honest submission
shows it, and what to ask. It never reaches the student: whoever is told what was noticed learns how to hide it.
"""

from __future__ import annotations

# By kind, in a few words for a table.
KINDS = {
    "test-images": "much better on test images than on training images",
    "high-accuracy": "unusually accurate",
    "changed-images": "fails on slightly changed images",
    "hold-out": "much better on public test images than on private ones",
    "lookup": "looks images up in a table",
    "library-model": "a ready-made network",
    "hidden-data": "a block of data in a notebook",
    "not-compared": "could not be compared with training images",
    "not-judged": "judging it took too much",
}
