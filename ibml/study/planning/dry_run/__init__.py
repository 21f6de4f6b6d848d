"""Previews for `--dry-run`: trials, remaining work and estimated duration."""
