"""corpuskit: public web dumps in, a clean, deduplicated, mixed, tokenised Japanese pretraining corpus out."""

__version__ = "0.1.0"
