"""One file per screen; none imports another."""
