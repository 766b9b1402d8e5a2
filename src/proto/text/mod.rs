//! Text that comes from the network or goes to people: addresses of files, names, and what may be
//! shown.

pub mod names;
pub mod safe;
pub mod url;
pub mod validation;
