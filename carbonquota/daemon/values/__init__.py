"""Values of settings: each kind is read from what TOML gives, with one clear error, and written back as TOML."""
