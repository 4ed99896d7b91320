"""Where work runs: the partition plan, the atomic store with receipts, the runner. No corpus knowledge lives here."""
