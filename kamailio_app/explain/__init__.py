"""Every check of a call, in order, with what was seen, its clause and what to do: for `shakenctl explain`."""
