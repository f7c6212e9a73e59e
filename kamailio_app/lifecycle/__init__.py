"""The way to a certificate that signs: keys, requests, SPC tokens, STI-PA and ACME clients, publication, rotation."""
