//! Chapters about wireboot for those who change, judge or audit it.

#[doc = include_str!("manual/architecture.md")]
pub mod architecture {}

#[doc = include_str!("manual/boot-files.md")]
pub mod boot_files {}

#[doc = include_str!("manual/contributing.md")]
pub mod contributing {}

#[doc = include_str!("manual/security.md")]
pub mod security {}
