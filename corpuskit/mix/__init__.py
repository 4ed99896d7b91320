"""Shares of languages -> a plan in tokens -> the order of training windows."""
