"""What a hidden test may know and say: decoded evidence, the check language, the test set, flags."""
