"""The calls that `import recycle_jax as rj` shows, one file a subject."""
