"""How a run is started, looked at and stopped, a module for each kind of machine."""
