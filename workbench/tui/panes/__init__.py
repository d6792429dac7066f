"""The four panes of the app, one file each."""
