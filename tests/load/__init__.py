"""End-to-end throughput: SIPp calls SIPp through real stateful edges, step by step up to the first limit."""
