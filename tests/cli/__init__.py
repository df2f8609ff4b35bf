"""The owner's command line, against the running sandbox."""
