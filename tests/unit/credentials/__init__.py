"""Unit tests of kamailio_app.credentials."""
