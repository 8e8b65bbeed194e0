"""What stages say to judges, and what they make of their replies and of candidates. Pure, but for
warnings in the log."""
