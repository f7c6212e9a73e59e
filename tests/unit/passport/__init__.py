"""Unit tests of kamailio_app.passport."""
