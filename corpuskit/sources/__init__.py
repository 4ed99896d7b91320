"""Upstream datasets: a fetcher, and a reader a format. Readers stream and never die on bad data."""
