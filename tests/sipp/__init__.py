"""Calls by SIPp: a folder for each scenario, the suite that runs them, the flows they share."""
