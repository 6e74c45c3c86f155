"""The server: it translates between HTTP and the core, and decides who may ask; nothing else."""
