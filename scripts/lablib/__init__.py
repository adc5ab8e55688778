"""Network-namespace labs: the topology, the programs in it, and traffic to try it with.

scripts/lab builds one to play with; tests/netns and tests/crash build theirs from the same parts.
Everything has a unique name and is removed again, also after a failure.
"""
