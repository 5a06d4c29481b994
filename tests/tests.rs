//! The integration tests: one module per command.
