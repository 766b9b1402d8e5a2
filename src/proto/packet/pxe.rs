//! Option 43 of a PXE server (PXE 2.1 §2.2.1, Table 2-1; RFC 2132 §8.4).
//!
//! ```text
//! 6  discovery control   1 byte of bits
//! 7  discovery address   a multicast group
//! 8  boot servers        { type (2), count (1), count × address }…
//! 9  boot menu           { type (2), length (1), description }…
//! 10 menu prompt         timeout (1), text
//! 71 boot item           type (2), layer (2)
//! ```
//!
//! A malformed sub-option is left out and listed; the others are used. The addresses and ports of MTFTP
//! (1 to 5), which is no longer in use, are not decoded.

use crate::prelude::*;
use core::net::Ipv4Addr;

use super::option::Options;
use crate::reader::{DecodeError, Reader};
use crate::text::safe;

/// Sub-option codes, under their titles in the specification.
#[allow(missing_docs, reason = "each is named as in the specification")]
pub mod code {
    pub const DISCOVERY_CONTROL: u8 = 6;
    pub const DISCOVERY_MCAST_ADDR: u8 = 7;
    pub const BOOT_SERVERS: u8 = 8;
    pub const BOOT_MENU: u8 = 9;
    pub const MENU_PROMPT: u8 = 10;
    pub const BOOT_ITEM: u8 = 71;
}

/// Returns the title of a sub-option.
pub const fn name(code: u8) -> Option<&'static str> {
    Some(match code {
        1 => "MTFTP IP",
        2 => "MTFTP Client Port",
        3 => "MTFTP Server Port",
        4 => "MTFTP Timeout",
        5 => "MTFTP Delay",
        code::DISCOVERY_CONTROL => "Discovery Control",
        code::DISCOVERY_MCAST_ADDR => "Multicast Address",
        code::BOOT_SERVERS => "Boot Servers",
        code::BOOT_MENU => "Boot Menu",
        code::MENU_PROMPT => "Menu Prompt",
        11 => "Multicast Address Alloc",
        12 => "Credential Types",
        code::BOOT_ITEM => "Boot Item",
        _ => return None,
    })
}

/// Allowed methods of boot server discovery; each bit forbids one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiscoveryControl(pub u8);

impl DiscoveryControl {
    /// Servers may be discovered by broadcast.
    pub const fn allows_broadcast(self) -> bool {
        self.0 & 1 == 0
    }

    /// Servers may be discovered by multicast.
    pub const fn allows_multicast(self) -> bool {
        self.0 & 2 == 0
    }

    /// Only servers of the list are accepted.
    pub const fn only_listed(self) -> bool {
        self.0 & 4 != 0
    }

    /// The boot file of the same message is booted without menu, prompt or discovery.
    pub const fn takes_offered_file(self) -> bool {
        self.0 & 8 != 0
    }
}

/// The boot servers of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootServers {
    /// Their type, as in the menu.
    pub kind: u16,
    /// Their addresses; when empty, any server that answers is accepted.
    pub addresses: Vec<Ipv4Addr>,
}

/// One line of the boot menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MenuItem {
    /// The type of server that boots it; 0 is the local disk.
    pub kind: u16,
    /// Text for the menu, control characters escaped.
    pub description: String,
}

impl MenuItem {
    /// The type of the local disk.
    pub const LOCAL_BOOT: u16 = 0;
}

/// The prompt before the menu, with its timeout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MenuPrompt {
    /// Seconds until the first item is booted: 0 at once, 255 never.
    pub timeout_seconds: u8,
    /// Text for the menu, control characters escaped.
    pub text: String,
}

/// The boot item (sub-option 71) that a client requests and a server grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootItem {
    /// The type of server.
    pub kind: u16,
    /// The part of it: 0 is the bootstrap. The highest bit requests credentials.
    pub layer: u16,
}

impl BootItem {
    /// Decodes the value of sub-option 71.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let (kind, layer) = (
            reader.u16("boot item type")?,
            reader.u16("boot item layer")?,
        );
        Ok(Self { kind, layer })
    }

    /// Returns the value of option 43 that requests this item.
    pub fn encode(self) -> Vec<u8> {
        let mut bytes = vec![code::BOOT_ITEM, 4];
        bytes.extend_from_slice(&self.kind.to_be_bytes());
        bytes.extend_from_slice(&self.layer.to_be_bytes());
        // PXE 2.1 ends option 43 with 255.
        bytes.push(super::option::code::END);
        bytes
    }
}

/// The PXE options of a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pxe {
    /// Allowed methods of discovery; none when the server sends no such sub-option.
    pub discovery_control: Option<DiscoveryControl>,
    /// Multicast group of boot servers.
    pub discovery_group: Option<Ipv4Addr>,
    /// Boot servers by type.
    pub boot_servers: Vec<BootServers>,
    /// Menu items, the default first.
    pub menu: Vec<MenuItem>,
    /// Prompt before the menu.
    pub prompt: Option<MenuPrompt>,
    /// The item that a boot server grants.
    pub boot_item: Option<BootItem>,
    /// Sub-options that were left out, and why.
    pub ignored: Vec<(u8, DecodeError)>,
}

impl Pxe {
    /// Reads option 43 of a server that sends PXEClient in option 60.
    pub fn read(value: &[u8]) -> Self {
        let mut pxe = Self::default();
        let mut options = Options::default();
        if let Err(error) = options.read_encapsulated(value) {
            // It is not known which one is cut off.
            pxe.ignored.push((super::option::code::END, error));
        }
        for (code, value) in options.iter() {
            if let Err(error) = pxe.take(code, value) {
                pxe.ignored.push((code, error));
            }
        }
        pxe
    }

    fn take(&mut self, code: u8, value: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(value);
        match code {
            code::DISCOVERY_CONTROL => {
                self.discovery_control = Some(DiscoveryControl(reader.u8("discovery control")?));
            }
            code::DISCOVERY_MCAST_ADDR => {
                let group = Ipv4Addr::from(reader.array("discovery address")?);
                if !group.is_multicast() {
                    return Err(crate::reader::invalid("discovery address", group.to_bits()));
                }
                self.discovery_group = Some(group);
            }
            code::BOOT_SERVERS => {
                while !reader.is_empty() {
                    let kind = reader.u16("boot server type")?;
                    let count = usize::from(reader.u8("boot server count")?);
                    let (addresses, _) = reader
                        .take(4 * count, "boot server addresses")?
                        .as_chunks::<4>();
                    let addresses = addresses.iter().copied().map(Ipv4Addr::from).collect();
                    self.boot_servers.push(BootServers { kind, addresses });
                }
            }
            code::BOOT_MENU => {
                while !reader.is_empty() {
                    let kind = reader.u16("menu item type")?;
                    let len = usize::from(reader.u8("menu item length")?);
                    // It is shown on a terminal, which would interpret escape sequences.
                    let description = safe::text_of(reader.take(len, "menu item description")?);
                    self.menu.push(MenuItem { kind, description });
                }
            }
            code::MENU_PROMPT => {
                let timeout_seconds = reader.u8("menu prompt timeout")?;
                let text = safe::text_of(reader.rest());
                self.prompt = Some(MenuPrompt {
                    timeout_seconds,
                    text,
                });
            }
            code::BOOT_ITEM => self.boot_item = Some(BootItem::decode(value)?),
            _ => {}
        }
        Ok(())
    }

    /// Returns the addresses of the servers of this type; none when the list does not name it.
    pub fn servers(&self, kind: u16) -> Option<&[Ipv4Addr]> {
        let named = self
            .boot_servers
            .iter()
            .find(|servers| servers.kind == kind)?;
        Some(&named.addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As a server with a menu of two boots sends it.
    const MENU: &[u8] = &[
        6, 1, 0b0111, // only the listed servers, and those by unicast
        7, 4, 239, 255, 1, 2, // discovery group
        8, 17, // boot servers
        0x80, 0, 2, 192, 0, 2, 1, 192, 0, 2, 2, // two of type 0x8000
        0, 0, 0, // whoever answers for type 0
        0x80, 1, 0, // and for type 0x8001
        9, 15, // menu
        0x80, 0, 5, b'L', b'i', b'n', b'u', b'x', // the default
        0, 0, 4, b'D', b'\x1b', b's', b'k', // with what a terminal would obey
        10, 5, 8, b'B', b'o', b'o', b't', // eight seconds
        71, 4, 0x80, 0, 0, 1, // boot item
        255, 99,
    ];

    #[test]
    fn a_menu_with_servers_is_read_whole() {
        let pxe = Pxe::read(MENU);
        let control = pxe.discovery_control.unwrap();
        assert!(!control.allows_broadcast() && !control.allows_multicast());
        assert!(control.only_listed() && !control.takes_offered_file());
        assert_eq!(pxe.discovery_group, Some(Ipv4Addr::new(239, 255, 1, 2)));
        let two = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
        assert_eq!(pxe.servers(0x8000), Some(&two[..]));
        assert_eq!(pxe.servers(0x8001), Some(&[][..]));
        assert_eq!(pxe.servers(7), None);
        let menu: Vec<_> = pxe
            .menu
            .iter()
            .map(|item| (item.kind, item.description.as_str()))
            .collect();
        assert_eq!(
            menu,
            [(0x8000, "Linux"), (MenuItem::LOCAL_BOOT, "D\\u{1b}sk")]
        );
        let prompt = pxe.prompt.unwrap();
        assert_eq!((prompt.timeout_seconds, prompt.text.as_str()), (8, "Boot"));
        let item = BootItem {
            kind: 0x8000,
            layer: 1,
        };
        assert_eq!(pxe.boot_item, Some(item));
        assert_eq!(item.encode(), [71, 4, 0x80, 0, 0, 1, 255]);
        assert_eq!(pxe.ignored, []);
    }

    #[test]
    fn a_malformed_sub_option_is_listed_and_the_others_count() {
        let pxe = Pxe::read(&[
            7, 4, 192, 0, 2, 1, 8, 4, 0, 1, 2, 192, 6, 1, 8, 71, 3, 0, 1, 2,
        ]);
        assert!(pxe.discovery_control.unwrap().takes_offered_file());
        let ignored: Vec<_> = pxe.ignored.iter().map(|(code, _)| *code).collect();
        assert_eq!(ignored, [7, 8, 71]);
        assert_eq!((pxe.discovery_group, pxe.boot_item), (None, None));
        assert_eq!(pxe.boot_servers, []);
    }

    #[test]
    fn every_prefix_of_a_menu_is_read_up_to_the_cut() {
        for len in 0..MENU.len() - 2 {
            let pxe = Pxe::read(&MENU[..len]);
            assert!(pxe.menu.len() <= 2 && pxe.ignored.len() <= 1, "{len}");
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_there_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let pxe = Pxe::read(&bytes);
            prop_assert!(pxe.menu.len() <= bytes.len());
        }
    }
}
