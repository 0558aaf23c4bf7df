"""What each command takes and says of itself. The work is imported when it is done, so that help comes at once."""
