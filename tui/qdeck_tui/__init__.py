"""The console: a Textual app that operates qdeck queues through `qdeck.admin`."""
