//! Downloads from servers that do not do what they should.

mod faulty_server;
mod stories;
