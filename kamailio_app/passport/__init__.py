"""PASSporT (RFC 8225) of type shaken (RFC 8588): claims, deterministic JSON, ES256."""
