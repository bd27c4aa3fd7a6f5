"""The page in a browser: what came out is looked at, judged and steered. Reads the ledger, asks the daemon."""
