//! Downloads from misbehaving servers.

mod faulty_server;
mod stories;
