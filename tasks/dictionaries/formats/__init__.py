"""SAEs as other libraries store them: SAELens, and sparsify. Safetensors alone; a pickle is refused."""
