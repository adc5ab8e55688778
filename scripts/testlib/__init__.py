"""The test suites behind scripts/test: each module runs one and reports its cases."""
