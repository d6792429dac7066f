"""What goes into a pack beside rows and files: documents that follow from them, and what computed the numbers."""
