"""What the built-in extractors, transformers and loaders are made of. The standard library only; not for recipes."""
