"""Tests of the SIPp suite's own parts."""
