//! Real DHCP servers at the far end. All grant 192.0.2.100/24 for an hour, a default route, one
//! more route and an MTU of 1400 octets.

use std::path::Path;

use super::client::has_carrier;
use super::far::{Far, Server};
use super::{ip, wait_until};

/// dnsmasq on `far`, without anything to serve.
pub const DNSMASQ: &str = "dnsmasq --conf-file=/dev/null --no-daemon --user=root --port=0
    --leasefile-ro --pid-file= --no-ping --interface=far --bind-interfaces";

/// dnsmasq, with `more` arguments.
pub fn dnsmasq(far: &Far, more: &str) -> Server {
    let command = format!(
        "{DNSMASQ} --dhcp-range=192.0.2.100,192.0.2.100,255.255.255.0,1h --dhcp-option=3,192.0.2.1
        --dhcp-option=121,198.51.100.0/24,192.0.2.2,0.0.0.0/0,192.0.2.1 --dhcp-option=26,1400 {more}"
    );
    far.serve(&command, "DHCP, IP range")
}

/// Kea; `near` must have a carrier, without which it does not listen.
pub fn kea(far: &Far) -> Server {
    let config = r#"{ "Dhcp4": {
        "interfaces-config": { "interfaces": [ "far" ] },
        "lease-database": { "type": "memfile", "persist": false },
        "valid-lifetime": 3600,
        "subnet4": [ {
            "id": 1,
            "subnet": "192.0.2.0/24",
            "pools": [ { "pool": "192.0.2.100 - 192.0.2.100" } ],
            "option-data": [
                { "name": "routers", "data": "192.0.2.1" },
                { "name": "interface-mtu", "data": "1400" },
                { "code": 121, "csv-format": false, "data": "18C63364C000020200C0000201" }
            ]
        } ]
    } }"#;
    let config = far.write("kea.json", config);
    far.serve(&format!("kea-dhcp4 -c {config}"), "DHCP4_STARTED")
}

/// Kea, which does not listen on an interface without a carrier; `near` is down again then.
pub fn kea_at_once(far: &Far) -> Server {
    ip("link set near up");
    wait_until("near has a carrier", has_carrier);
    let server = kea(far);
    ip("link set near down");
    server
}

/// ISC dhcpd, with `more` lines of configuration.
pub fn dhcpd(far: &Far, more: &str) -> Server {
    let config = format!(
        "option classless-routes code 121 = array of unsigned integer 8;
        authoritative;
        ping-check false;
        {more}
        subnet 192.0.2.0 netmask 255.255.255.0 {{
            range 192.0.2.100;
            default-lease-time 3600;
            option routers 192.0.2.1;
            option interface-mtu 1400;
            option classless-routes 24,198,51,100, 192,0,2,2, 0, 192,0,2,1;
        }}"
    );
    let config = far.write("dhcpd.conf", &config);
    let leases = far.write("leases", "");
    let command = format!("dhcpd -4 -f -d -cf {config} -lf {leases} --no-pid far");
    far.serve(&command, "Server starting service.")
}

/// busybox's udhcpd.
pub fn udhcpd(far: &Far) -> Server {
    let leases = far.write("leases", "");
    let pid = far.write("pid", "");
    let config = format!(
        "interface far
        start 192.0.2.100
        end 192.0.2.100
        lease_file {leases}
        pidfile {pid}
        option subnet 255.255.255.0
        option router 192.0.2.1
        option mtu 1400
        option lease 3600
        option staticroutes 198.51.100.0/24 192.0.2.2, 0.0.0.0/0 192.0.2.1\n"
    );
    let config = far.write("udhcpd.conf", &config);
    far.serve(&format!("udhcpd -f {config}"), "started")
}

/// Starts systemd-networkd with this configuration of `far`, and waits until it says `ready`.
pub fn networkd_with(far: &Far, config: &str, ready: &str) -> Server {
    for folder in ["network", "netif"] {
        std::fs::create_dir_all(format!("/run/systemd/{folder}")).unwrap();
    }
    std::fs::write("/run/systemd/network/far.network", config).unwrap();
    // It takes the system for a container, where no udev is to be waited for, when `/sys` is read-only.
    let script = far.write(
        "networkd",
        "mount -t sysfs -o ro none /sys
        export SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console
        exec /lib/systemd/systemd-networkd",
    );
    far.serve(&format!("unshare --mount sh {script}"), ready)
}

/// From now on no ACK leaves the server's namespace; dnsmasq puts option 53 first.
pub fn drop_acknowledgements(far: &Far) {
    let rules = "table inet filter {
        chain output {
            type filter hook output priority 0;
            udp sport 67 @th,1984,24 0x350105 drop
        }
    }";
    far.run(&format!("nft -f {}", far.write("rules", rules)));
}

/// nginx, which serves `folder` by HTTP on port 80.
pub fn nginx(far: &Far, folder: &Path) -> Server {
    nginx_with(far, folder, "listen 192.0.2.1:80;")
}

/// nginx, which serves `folder` by HTTPS, with a certificate of its own in `own.pem` of the far
/// folder.
pub fn nginx_by_tls(far: &Far, folder: &Path) -> Server {
    let own = far.folder.display();
    far.run(&format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {own}/own.key
        -out {own}/own.pem -subj /CN=far -days 9 -addext subjectAltName=IP:192.0.2.1
        -addext basicConstraints=critical,CA:FALSE"
    ));
    let certificate = format!("ssl_certificate {own}/own.pem; ssl_certificate_key {own}/own.key;");
    nginx_with(
        far,
        folder,
        &format!("listen 192.0.2.1:443 ssl; {certificate}"),
    )
}

/// nginx, which serves `folder` as `directives` say.
pub fn nginx_with(far: &Far, folder: &Path, directives: &str) -> Server {
    let (own, folder) = (far.folder.display(), folder.display());
    let config = format!(
        "daemon off;
        master_process off;
        user root;
        pid {own}/nginx.pid;
        error_log stderr;
        events {{}}
        http {{
            access_log {own}/access.log;
            client_body_temp_path {own}/body;
            proxy_temp_path {own}/proxy;
            fastcgi_temp_path {own}/fastcgi;
            uwsgi_temp_path {own}/uwsgi;
            scgi_temp_path {own}/scgi;
            server {{ {directives} root {folder}; }}
        }}"
    );
    let config = far.write("nginx.conf", &config);
    let server = far.start(&format!("nginx -c {config}"));
    let is_there = || {
        far.output("ss --listening --tcp --numeric")
            .contains("192.0.2.1:")
    };
    wait_until("nginx listens", is_there);
    server
}
