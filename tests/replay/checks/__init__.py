"""Checks of the replay suite. A check is a function whose docstring is the sentence it proves; it
raises Failed when that is not so."""
