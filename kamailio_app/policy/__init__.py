"""Policy: who gets which attestation, and what a verdict leads to."""
