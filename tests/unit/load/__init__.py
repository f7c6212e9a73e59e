"""Unit tests of kamailio_app.runtime."""
