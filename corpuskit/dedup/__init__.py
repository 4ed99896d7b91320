"""Near-duplicate and exact-duplicate documents: MinHash signatures, clusters checked by true Jaccard, removal."""
