"""What each `cxrlab` command does: one file per command, loaded when it is typed."""
