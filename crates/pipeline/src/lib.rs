//! offramp.toml: read, validated once, every problem reported together.
