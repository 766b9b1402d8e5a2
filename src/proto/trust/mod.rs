//! What may be started: signatures, lists of hashes, and the policy.

pub mod policy;
pub mod signature;
pub mod sums;
