"""What students hand in: archives, folders, notebooks, cells; staged, repaired, set aside, never run."""
