"""Of scripts/replay itself: a spoilt case must fail, and say what is wrong."""
CHECKS = []
