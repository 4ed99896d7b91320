"""What came of a run: the funnel as numbers, as a table, as a picture, and as one HTML page."""
