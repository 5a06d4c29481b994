//! What is known of a result, and the inputs of its key.
