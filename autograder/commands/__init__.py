"""Commands of `autograder`, one file each; cli.py holds those that grade, and the error boundary of all."""
