"""How runs wait, start, stop and come back."""
