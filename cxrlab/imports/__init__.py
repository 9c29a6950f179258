"""Results made elsewhere, brought into the lab."""
