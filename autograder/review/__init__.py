"""What people read after grading: staff report, feedback, exports, integrity, what-if, explain."""
