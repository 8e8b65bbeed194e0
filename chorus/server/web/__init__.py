"""The page at `/ui/`: static files that live on the public API (O4)."""
