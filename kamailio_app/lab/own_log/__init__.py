"""Python finds what is in here if the laboratory puts it on a Kamailio's PYTHONPATH."""
