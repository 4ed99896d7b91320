"""SentencePiece: train on a sample of the corpus, encode exactly."""
