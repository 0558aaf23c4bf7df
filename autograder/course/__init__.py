"""One nbgrader course: batch, gradebook, manual marks, deadlines, groups, recorded reports."""
