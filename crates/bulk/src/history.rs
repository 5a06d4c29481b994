//! How long builds took, and two runs compared.
