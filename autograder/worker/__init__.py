"""Runs inside the jail; imports nothing from the rest of the package."""
