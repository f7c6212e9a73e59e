"""STI certificates: TNAuthList, claim constraints, path validation at a given time, CRL, trust list, x5u, lifetimes."""
