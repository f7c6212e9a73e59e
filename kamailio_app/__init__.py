"""STIR/SHAKEN for SIP servers: signs and verifies caller identity inside Kamailio.

The package is laid out as rooms. The core (errors, sip, tn, grammar, identity, passport, credentials, sti_as,
sti_vs, verdict, policy) computes and does nothing else: no I/O, no clock, no random numbers, no log. `runtime`
reads, waits and remembers. `adapters` speak to the SIP server. `lab` makes certificates for tests and demos.
"""

__version__ = "0.1.0"
