//! Records as a graph, and what cannot be built, with the reason.
