"""The laboratory: certificates, a repository, Kamailio and SIPp for tests, demos and QA. Never imported by the rest."""
