"""What comes up over the panes: questions, help, the first run."""
