"""Unit tests of kamailio_app.policy."""
