"""What runs in circuit-tracer's own environment, made by `install.sh`; imports nothing of the workbench."""
