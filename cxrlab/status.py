"""How far is a method, in the words of a notebook's status column? Touches nothing."""
