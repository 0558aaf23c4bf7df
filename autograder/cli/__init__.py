"""The commands: read options, call one room, print, choose the exit status."""
