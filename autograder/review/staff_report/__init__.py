"""The staff's report: one page for the class, one for each student, with JSON and CSV beside them."""
