"""PASSporTs (RFC 8225) of the types shaken, div, rph and rcd: claims, deterministic JSON, ES256."""
