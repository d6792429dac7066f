"""SAEs that SAELens 6.54 and sparsify 1.3.3 wrote, what they made of them, and SAELens' evaluation of one."""
