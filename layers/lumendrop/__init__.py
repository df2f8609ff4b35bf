"""What Lumendrop's functions share, one subject per module."""
