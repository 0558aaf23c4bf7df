"""One submission in, one GradeReport out: plan, jail run, judge, cache."""
