//! What servers send that the RFC does not have, and what is made of it.

use super::*;

#[test]
fn an_ack_of_another_address_counts_only_from_who_offered() {
    let mut t = Transcript::in_requesting(plain());
    let other = Ipv4Addr::new(192, 0, 2, 101);
    let xid = t.client_xid();
    let stray = Message {
        yiaddr: other,
        xid,
        ..ack(OTHER_SERVER)
    };
    let wrong = |server| Err(Discard::WrongServer(server));
    assert_eq!(t.offers_to_client(&stray, 67), wrong(OTHER_SERVER));
    let mut nameless = stray.clone();
    nameless.options.remove(code::SERVER_IDENTIFIER);
    assert_eq!(t.offers_to_client(&nameless, 67), wrong(SERVER));
    t.receives(Message {
        yiaddr: other,
        ..ack(SERVER)
    });
    assert_eq!(t.bound().address, other);
    assert_eq!(t.moved, [(SERVER, ADDRESS, other)]);
    // Nobody is told of what was asked for.
    let mut t = Transcript::in_requesting(plain());
    t.receives(ack(SERVER));
    assert_eq!((t.bound().address, t.moved.len()), (ADDRESS, 0));
    // As of the address of the last time.
    let mut t = Transcript::new(plain());
    t.client.reboot(other, t.now);
    t.sends(MessageType::Request);
    t.receives(ack(SERVER));
    assert_eq!(t.bound().address, ADDRESS);
    assert_eq!(t.moved, [(SERVER, other, ADDRESS)]);
}

#[test]
fn a_failover_partner_grants_what_was_asked_for_and_is_asked_to_renew_it() {
    let mut t = Transcript::in_requesting(plain());
    t.receives(ack(OTHER_SERVER));
    assert_eq!(t.bound().server, Some(OTHER_SERVER));
    t.sends_after(1_800_000..=1_800_000, MessageType::Request);
    assert_eq!(*t.last.destination.ip(), OTHER_SERVER);
    t.receives(ack(SERVER));
    assert_eq!(t.bound().server, Some(SERVER));
}

#[test]
fn an_ack_without_a_server_identifier_is_of_who_was_asked() {
    let nameless = || {
        let mut message = ack(SERVER);
        message.options.remove(code::SERVER_IDENTIFIER);
        message
    };
    // By way of a relay, at whose address no server is to be asked.
    let relay = Ipv4Addr::new(192, 0, 2, 254);
    let mut t = Transcript::in_requesting(plain());
    t.source = relay;
    t.receives(nameless());
    assert_eq!(t.bound().server, Some(SERVER));
    t.sends_after(1_800_000..=1_800_000, MessageType::Request);
    t.receives(nameless());
    assert_eq!(t.bound().server, Some(SERVER));
    t.client.link_up(t.now);
    t.sends(MessageType::Request);
    assert_eq!(t.client.state(), StateName::Rebooting);
    t.receives(nameless());
    assert_eq!(t.bound().server, Some(SERVER));
    // Who granted the address of the last time is not known: whoever answers is as good.
    let mut t = Transcript::new(plain());
    t.client.reboot(ADDRESS, t.now);
    t.sends(MessageType::Request);
    let mut other = nameless();
    (other.yiaddr, other.xid) = (Ipv4Addr::new(192, 0, 2, 101), t.client_xid());
    let wrong = Discard::WrongAddress(other.yiaddr);
    assert_eq!(t.offers_to_client(&other, 67), Err(wrong));
    t.source = Ipv4Addr::UNSPECIFIED;
    other.yiaddr = ADDRESS;
    let nobody = Err(Discard::NoServerIdentifier);
    assert_eq!(t.offers_to_client(&other, 67), nobody);
    t.source = OTHER_SERVER;
    t.receives(nameless());
    assert_eq!(t.bound().server, Some(OTHER_SERVER));
}

#[test]
fn a_nak_without_a_server_identifier_counts_from_where_the_offer_came_from() {
    let relay = Ipv4Addr::new(192, 0, 2, 254);
    let nak = |t: &mut Transcript, source| {
        let mut message = reply(MessageType::Nak, SERVER);
        message.options.remove(code::SERVER_IDENTIFIER);
        (message.xid, t.source) = (t.client_xid(), source);
        t.offers_to_client(&message, 67)
    };
    let requesting = || {
        let mut t = Transcript::new(plain());
        t.source = relay;
        t.sends(MessageType::Discover);
        t.receives(offer(SERVER));
        t.sends(MessageType::Request);
        t
    };
    let foreign = Err(Discard::WrongServer(OTHER_SERVER));
    for source in [SERVER, relay] {
        let mut t = requesting();
        assert_eq!(nak(&mut t, OTHER_SERVER), foreign);
        assert_eq!(nak(&mut t, source), Ok(()));
        assert!(matches!(t.failure(), Loss::Refused { server, .. } if server == source));
        let mut t = requesting();
        t.receives(ack(SERVER));
        t.bound();
        t.sends_after(1_800_000..=1_800_000, MessageType::Request);
        assert_eq!(nak(&mut t, OTHER_SERVER), foreign);
        assert_eq!(nak(&mut t, source), Ok(()));
        assert!(matches!(t.loss(), Loss::Refused { server, .. } if server == source));
    }
    let mut t = requesting();
    let named = Message {
        xid: t.client_xid(),
        ..reply(MessageType::Nak, OTHER_SERVER)
    };
    assert_eq!(t.offers_to_client(&named, 67), foreign);
}
