"""Everything that waits, reads or remembers: settings, keystore, fetcher, credential cache, call log, the service."""
