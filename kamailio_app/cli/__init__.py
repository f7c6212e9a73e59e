"""The command line, `shakenctl`: one module per command. What is asked for is done elsewhere, and shown here."""
