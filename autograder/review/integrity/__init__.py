"""What the staff should know about likeness between submissions, and about models that know the test set.

Signals with evidence, for a person to judge. Nothing here costs points, and nothing of it is told to a student.
"""
