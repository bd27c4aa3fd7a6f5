"""The ledger: one SQLite file that is the queue, the scores and the lineage. The only place with SQL."""
