//! The journal of a run: the states of its packages, as they are written down.
