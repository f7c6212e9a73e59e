"""What is wrong with a configured edge, and the fix: for `shakenctl doctor`."""
