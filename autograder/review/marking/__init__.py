"""Marking by hand on a local page: alike answers together, one question at a time, written to nbgrader's gradebook."""
