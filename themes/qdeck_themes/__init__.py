"""Themes of the console as data: one TOML file a theme, read through importlib.resources."""
