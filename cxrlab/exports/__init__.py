"""How the grid and a run look in other forms."""
