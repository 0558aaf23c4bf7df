"""What happens to a course over its weeks: due dates, late penalties, extensions, groups, and who is forgotten."""
