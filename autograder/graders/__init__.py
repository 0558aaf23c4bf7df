"""The hidden graders, one pytest file per notebook, and what they share."""
