"""Train Raccoon's split models and export them as bundles (see README.md beside this package)."""
