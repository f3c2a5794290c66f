"""One screen and one file a view."""
