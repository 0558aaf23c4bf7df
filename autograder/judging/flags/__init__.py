"""What an instructor should know of a submission and no grader can refuse: flags, which cost no points.

Each is a valid answer by the rules, so it is graded as it is. A flag says what was seen, how often an honest submission
shows it, and what to ask. It never reaches the student: whoever is told what was noticed learns how to hide it.
"""

from __future__ import annotations
