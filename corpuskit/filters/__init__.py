"""Measure (signals, one pass over the text) and decide (rules, a scan of numbers)."""
