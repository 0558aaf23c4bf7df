"""Programs that are started by their path, in a process of their own that knows nothing; imported by nobody."""
