"""What generates: one file per engine, each behind its own extra."""
