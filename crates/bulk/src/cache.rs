//! What is known of recipes that were scanned, and of the files that were read for that.
