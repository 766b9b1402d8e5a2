//! Formats of files: captures, kernels and their archives, device trees, the TPM's messages.

pub mod cpio;
pub mod fdt;
#[cfg(feature = "iso")]
pub mod iso9660;
pub mod kernel_image;
pub mod pcap;
pub mod pcapng;
pub mod tpm;
pub mod uki;
#[cfg(feature = "tls")]
pub mod x509;
