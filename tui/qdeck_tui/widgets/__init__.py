"""The widgets of the console: they are told what to show, and never ask for it."""
