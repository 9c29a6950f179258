"""What two screens share, one file per widget."""
