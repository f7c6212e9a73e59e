"""Adapters between SIP servers and the service: `calls` is common to all, `kamailio` is the only importer of KSR."""
