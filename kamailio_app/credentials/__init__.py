"""STI certificates: TNAuthList, path validation at a given time, trust anchors, x5u rules, lifetimes."""
