//! `bulk.conf`, the configuration of a bulk build.
