//! A root and kernels from Debian's registry, which the test pushes to over its HTTP API.

use std::fs;
use std::process::Command;

use crate::common::far::Server;
use crate::common::in_new_namespace;
use crate::live_root::Site;
use wireboot_proto::format::kernel_image::fixture::bz_image;

/// Debian's registry, with a token server before it on request, and what pushes to it.
const REGISTRY: &str = r#"
import base64, ctypes, hashlib, http.client, http.server, json, os, ssl, subprocess, sys, threading, time
folder = os.getcwd()
open("config.yml", "w").write("""
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: %s/registry}}
http: {addr: "192.0.2.1:5000"}
""" % folder)
# PR_SET_PDEATHSIG: it ends with this program.
subprocess.Popen(["docker-registry", "serve", "config.yml"], preexec_fn=lambda: ctypes.CDLL(None).prctl(1, 9))
def ask(method, path, body=b"", headers={}):
    for attempt in range(100):
        try:
            connection = http.client.HTTPConnection("192.0.2.1", 5000)
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status < 300, (method, path, answer.status, content)
            return answer
        except ConnectionRefusedError:
            time.sleep(0.1)
def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()
def push_blob(data):
    to = ask("POST", "/v2/debian/blobs/uploads/").getheader("Location")
    to = to.split("192.0.2.1:5000")[-1]
    ask("PUT", to + "&digest=" + digest(data), data, {"Content-Type": "application/octet-stream"})
def push_manifest(tag, manifest):
    data = json.dumps(manifest).encode()
    ask("PUT", "/v2/debian/manifests/" + (tag or digest(data)), data, {"Content-Type": manifest["mediaType"]})
    return digest(data), len(data)
def push(tag, layers, config="application/vnd.oci.empty.v1+json", kind="application/vnd.oci.image.manifest.v1+json"):
    described = []
    for name, layer, *title in layers:
        data = open(name, "rb").read()
        push_blob(data)
        titles = {"annotations": {"org.opencontainers.image.title": title[0]}} if title else {}
        described.append(dict(titles, mediaType=layer, digest=digest(data), size=len(data)))
    push_blob(b"{}")
    config = {"mediaType": config, "digest": digest(b"{}"), "size": 2}
    return push_manifest(tag, {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": described})
def artifact(tag, files):
    return push(tag, [(name, kind, name) for name, kind in files])
octets = "application/octet-stream"
oci = "application/vnd.oci.image."
exec(open("push.py").read())

# What stands before it at each port: who gets a token and where, who needs a password.
ME = "Basic " + base64.b64encode(b"me:s@cret").decode()
HERE = "http://192.0.2.1:%d/token"
tokens = {"open-sesame"}
class Guard(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *words): pass
    def do_GET(self):
        port, said = self.server.server_port, self.headers.get("Authorization")
        if said:
            with open("seen", "a") as seen:
                seen.write("%d %s %s\n" % (port, self.path.split("?")[0], said.split()[0]))
        headers, status, content = {}, 200, b"{}"
        bearer = 'Bearer realm="%s",service="here",scope="repository:debian:pull"'
        is_token = said and said.startswith("Bearer ") and said[7:] in tokens
        if self.path == "/token?service=here&scope=repository:debian:pull":
            if port == 5001:
                content = json.dumps({"token": "open-sesame", "expires_in": 60}).encode()
            elif said == ME:
                # For one request.
                token = os.urandom(8).hex()
                tokens.add(token)
                content = json.dumps({"access_token": token}).encode()
            else:
                status, headers["WWW-Authenticate"] = 401, "Basic realm=tokens"
        elif port == 5004 and said != ME:
            status, headers["WWW-Authenticate"] = 401, 'Basic realm="here"'
        elif port == 5007 and "thief" in self.path:
            status, headers["WWW-Authenticate"] = 401, bearer % (HERE % 5007)
        elif port not in [5004, 5007] and not is_token:
            realm = {5003: "http://192.0.2.2:5002/token", 5005: "https://192.0.2.1:5005/token"}
            status, headers["WWW-Authenticate"] = 401, bearer % realm.get(port, HERE % port)
        elif port in [5002, 5006] and "/blobs/" in self.path:
            place = self.path if port == 5002 else "/v2/debian/blobs/thief"
            status, headers["Location"] = 307, "http://192.0.2.1:5007" + place
        else:
            wanted = {"Accept": self.headers["Accept"]} if "Accept" in self.headers else {}
            connection = http.client.HTTPConnection("192.0.2.1", 5000)
            connection.request("GET", self.path, headers=wanted)
            answer = connection.getresponse()
            status, content = answer.status, answer.read()
        if is_token and port != 5001:
            tokens.discard(said[7:])
        self.send_response(status)
        for name, value in dict(headers, **{"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
for port in [5001, 5002, 5003, 5004, 5005, 5006, 5007]:
    server = http.server.ThreadingHTTPServer(("0.0.0.0", port), Guard)
    if port == 5005 and os.path.exists("own.pem"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain("own.pem", "own.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
print("the registry is ready", flush=True)
threading.Event().wait()
"#;

/// Starts the registry with what `push` puts into it.
fn serve(site: &Site, push: &str) -> Server {
    site.far.run("ip link set lo up");
    let script = site.far.write("registry.py", REGISTRY);
    fs::write(site.served.join("push.py"), push).unwrap();
    let served = site.served.display();
    let command = format!("env -C {served} python3 {script}");
    site.far.serve(&command, "the registry is ready")
}

/// An artifact of each kind, one of them for several processors.
const ARTIFACTS: &str = r#"
found, size = artifact(None, [("a.squashfs", octets), ("README", "text/plain")])
ours = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": found, "size": size}
index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
    dict(ours, platform={"architecture": "s390x", "os": "linux"}),
    dict(ours, platform={"architecture": "amd64", "os": "linux"}),
    dict(ours, platform={"architecture": "arm64", "os": "linux"})]}
open("digest", "w").write(push_manifest("12", index)[0])
artifact("two", [("a.squashfs", octets), ("b.erofs", octets)])
artifact("image", [("layer.tar.gz", "application/vnd.oci.image.layer.v1.tar+gzip")])
artifact("kernel", [("vmlinuz", octets), ("initrd.img", octets)])
"#;

#[test]
#[ignore = "needs CAP_SYS_ADMIN, docker-registry, Python, and a kernel with squashfs, erofs, loop and overlay"]
fn an_artifact_of_a_registry_is_the_root_by_its_digest_or_by_a_tag() {
    in_new_namespace(|| {
        let site = Site::new();
        site.tree("fig");
        site.make(
            "mksquashfs $tree a.squashfs -quiet; mkfs.erofs b.erofs $tree >/dev/null 2>&1
            tar -C $tree -czf layer.tar.gz .; echo read me >README; echo y >initrd.img",
        );
        fs::write(site.served.join("vmlinuz"), bz_image()).unwrap();
        let _registry = serve(&site, ARTIFACTS);
        let digest = fs::read_to_string(site.served.join("digest")).unwrap();
        let of = |place: &str| format!("root=oci+http://192.0.2.1:5000/debian{place}");
        for (words, unpinned) in [
            (of(&format!("@{digest}")), false),
            (of(":12"), true),
            (of(":two#/b.erofs"), true),
            (of(":image"), true),
            ("root=oci+http://192.0.2.1:5001/debian:12".to_owned(), true),
        ] {
            let said = site.boots(&words);
            assert!(said.contains("the word is fig"), "{words}:\n{said}");
            let is_told = said.contains("nothing pins the tag");
            assert_eq!(is_told, unpinned, "{words}:\n{said}");
        }
        let wrong = format!("@sha256:{}", "7".repeat(64));
        for (place, code, why) in [
            (wrong.as_str(), 7, "404"),
            (":two", 6, "several files that may be the root"),
            (":kernel", 6, "the artifact has no root"),
            (":two#/c", 6, "it has no file of that name"),
            (":none", 7, "404"),
        ] {
            site.fails_with(&of(place), code, why);
        }
        // A boot file of the same kind, by hand.
        let boot = |port: u16, stage: &str| {
            let boot_file = format!("oci+http://192.0.2.1:{port}/debian:kernel");
            let output = Command::new(env!("CARGO_BIN_EXE_wireboot"))
                .args(["boot", "-i", "near", "--timeout", "20"])
                .args(["--stop-after", stage, "--json", "--boot-file", &boot_file])
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        site.make("sha256sum vmlinuz initrd.img >sums");
        let sums = fs::read_to_string(site.served.join("sums")).unwrap();
        for port in [5000, 5001] {
            let plan = boot(port, "plan");
            for sum in sums.lines().map(|line| &line[..64]) {
                assert!(plan.contains(&format!("blobs/sha256:{sum}")), "{plan}");
            }
            boot(port, "image");
        }
        // Whoever changes a layer in the registry changes what it is no more.
        let blobs = site.served.join("registry/docker/registry/v2/blobs");
        site.make(&format!(
            "for file in $(find {} -name data -size +100k); do printf x | dd of=$file bs=1 seek=90000 conv=notrunc status=none; done",
            blobs.display()
        ));
        let said = site.fails(&of(&format!("@{digest}")));
        assert!(said.contains("exit code 8\n"), "{said}");
    });
}

/// Images of several layers: by the words of OCI, of Docker, above a squashfs, and one that is none.
const LAYERS: &str = r#"
import io, gzip, tarfile
def layer(name, *members):
    with tarfile.open(name, "w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in members:
            member = tarfile.TarInfo(path)
            member.mode, data = 0o755, b""
            if content is None:
                member.type = tarfile.DIRTYPE
            elif content.startswith("->"):
                member.type, member.linkname = tarfile.LNKTYPE, content[2:]
            else:
                data = content.encode()
                member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
layer("second.tar",
    ("extra/gone/.wh.file", ""), ("extra/both", "new\n"), ("extra/.wh.both", ""),
    ("extra/opaque/new", "new\n"), ("extra/opaque/.wh..wh..opq", ""), ("extra/.wh.folder", ""),
    ("extra/folder-to-file", "a file\n"), ("extra/file-to-folder", None), ("extra/file-to-folder/child", ""),
    ("extra/merged", None), ("extra/merged/second", ""), ("extra/.wh.", ""), ("extra/merged/.wh..", ""),
    ("extra/merged/.wh...", ""), (".wh..wh.plnk/7.8", "of AUFS"), ("extra/short-lived", "7"),
    ("extra/.wh.was-never-there", ""), ("extra/nowhere/.wh..wh..opq", ""))
layer("third.tar", ("word", "top"), ("extra/.wh.short-lived", ""), ("extra/linked", "->extra/kept"))
layer("empty.tar")
for name in ["second.tar", "empty.tar"]:
    open(name + ".gz", "wb").write(gzip.compress(open(name, "rb").read()))
tar = oci + "layer.v1.tar"
above = [("second.tar.gz", tar + "+gzip"), ("empty.tar.gz", tar + "+gzip"), ("empty.tar", tar), ("third.tar", tar)]
config = oci + "config.v1+json"
found, size = push("image", [("base.tar.zst", tar + "+zstd")] + above, config)
open("digest", "w").write(found)
docker = "application/vnd.docker."
push("docker", [(name, docker + "image.rootfs.diff.tar.gzip") for name in ["base.tar.gz", "second.tar.gz", "empty.tar.gz", "third.tar"]],
    docker + "container.image.v1+json", docker + "distribution.manifest.v2+json")
push("mixed", [("base.squashfs", "application/vnd.example.image.layer.squashfs")] + above, config)
push("upside-down", above + [("base.squashfs", "application/vnd.example.image.layer.squashfs")], config)
push("damaged", [("base.tar.zst", tar), ("base.squashfs", tar, "not-a-layer"), ("cut.tar.gz", tar)], config)
push("two-files", [("base.tar.gz", tar, "one.tar.gz"), ("third.tar", tar, "two.tar")])
"#;

#[test]
#[ignore = "needs CAP_SYS_ADMIN, docker-registry, Python, and a kernel with squashfs, loop and overlay"]
fn the_layers_of_an_image_become_one_root_in_which_each_hides_what_it_says() {
    in_new_namespace(|| {
        let site = Site::new();
        site.tree("bottom");
        site.make(
            "cd $tree; mkdir -p extra/gone extra/opaque/sub extra/folder/sub extra/folder-to-file/sub extra/merged
            for name in gone/file gone/kept both opaque/old opaque/sub/old folder/sub/file short-lived \
                folder-to-file/sub/file file-to-folder merged/first kept; do echo $name >extra/$name; done
            cd -; tar -C $tree -cf base.tar .; zstd -q -k base.tar; gzip -k base.tar
            mksquashfs $tree base.squashfs -quiet; head -c 300 base.tar.gz >cut.tar.gz",
        );
        let _registry = serve(&site, LAYERS);
        let digest = fs::read_to_string(site.served.join("digest")).unwrap();
        let of = |place: &str| format!("root=oci+http://192.0.2.1:5000/debian{place}");
        let pinned = format!("@{digest}");
        for (place, words, is_writable) in [
            (":image", "", true),
            (pinned.as_str(), "rd.overlay=0", false),
            (":docker", "wireboot.sandbox=off", true),
            (":mixed", "", true),
            (":mixed", "rd.overlay=0", false),
        ] {
            let said = site.boots(&format!("{} {words}", of(place)));
            let listed = files_of(&said);
            let expected = [
                "/extra/both",
                "/extra/file-to-folder",
                "/extra/file-to-folder/child",
                "/extra/folder-to-file",
                "/extra/gone",
                "/extra/gone/kept",
                "/extra/kept",
                "/extra/linked",
                "/extra/merged",
                "/extra/merged/first",
                "/extra/merged/second",
                "/extra/opaque",
                "/extra/opaque/new",
            ];
            assert_eq!(listed, expected, "{place} {words}:\n{said}");
            assert!(said.contains("the word is top"), "{place}:\n{said}");
            assert_eq!(
                said.contains("it is writable"),
                is_writable,
                "{place}:\n{said}"
            );
            assert_eq!(
                said.contains("it is read-only"),
                !is_writable,
                "{place}:\n{said}"
            );
        }
        for (place, code, why) in [
            (
                ":upside-down",
                6,
                "a layer above its lowest one is a file system",
            ),
            (":damaged", 6, "is no root"),
            (":two-files", 6, "several files that may be the root"),
        ] {
            site.fails_with(&of(place), code, why);
        }
    });
}

/// Returns the paths below `/extra` that the image's init has listed, in their order.
fn files_of(said: &str) -> Vec<String> {
    let mut folder = "";
    let mut all = Vec::new();
    for line in said.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        if let Some(path) = line
            .strip_suffix(':')
            .filter(|path| path.starts_with("/extra"))
        {
            folder = path;
        } else if let [mode, .., name] = words[..]
            && mode.len() == 10
            && mode.starts_with(['-', 'd'])
        {
            all.push(format!("{folder}/{name}"));
        }
    }
    all.sort_unstable();
    all
}

#[test]
#[ignore = "needs CAP_SYS_ADMIN, docker-registry, Python, OpenSSL, and a kernel with squashfs, loop and overlay"]
fn a_registry_gets_the_password_that_it_asks_for_and_nobody_else_does() {
    in_new_namespace(|| {
        let site = Site::new();
        site.tree("fig");
        site.make(
            "tar -C $tree -czf base.tar.gz .; mkdir etc; echo x >etc/extra; tar -czf second.tar.gz etc
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.key -out own.pem \
                -subj /CN=here -addext subjectAltName=IP:192.0.2.1 -days 9 2>/dev/null",
        );
        fs::write(site.served.join("vmlinuz"), bz_image()).unwrap();
        site.far.run("ip address add 192.0.2.2/24 dev far");
        let _registry = serve(
            &site,
            r#"
tar = oci + "layer.v1.tar+gzip"
push("image", [("base.tar.gz", tar), ("second.tar.gz", tar)], oci + "config.v1+json")
artifact("kernel", [("vmlinuz", octets)])
"#,
        );
        let seen = |port: u16| {
            let text = fs::read_to_string(site.served.join("seen")).unwrap_or_default();
            let start = format!("{port} ");
            let all = text.lines().filter_map(|line| line.strip_prefix(&start));
            let all: Vec<_> = all.map(str::to_owned).collect();
            let _ = fs::remove_file(site.served.join("seen"));
            all
        };
        let of =
            |user: &str, port: u16| format!("root=oci+http://{user}192.0.2.1:{port}/debian:image");
        let said = site.boots(&of("me:s%40cret@", 5002));
        assert!(said.contains("the word is fig"), "{said}");
        assert!(!said.contains("cret"), "{said}");
        // Each token is good for one request; the layers are elsewhere, where no token is sent.
        let at_registry = seen(5002);
        let tokens = at_registry.iter().filter(|line| *line == "/token Basic");
        assert_eq!(tokens.count(), 3, "{at_registry:?}");
        let said = site.boots(&of("me:s%40cret@", 5002));
        assert_eq!(seen(5007), [""; 0], "{said}");
        site.fails_with(&of("", 5002), 7, "http://192.0.2.1:5002/token");
        site.fails_with(&of("me:other@", 5002), 7, "there is no token");
        site.fails_with(&of("", 5004), 7, "asks for Basic realm=");
        site.fails_with(&of("me:s%40cret@", 5006), 7, "asks for Bearer realm=");
        assert_eq!(seen(5007), [""; 0]);
        // Whoever answers for the registry without TLS must not choose who gets the password.
        site.fails_with(&of("me:s%40cret@", 5003), 8, "the password is not sent");
        assert_eq!(seen(5002), [""; 0]);
        fs::write(
            site.far.folder.join("policy"),
            "allow-host 192.0.2.1\nallow-host 192.0.2.2\n",
        )
        .unwrap();
        let said = site.boots(&of("me:s%40cret@", 5003));
        assert!(said.contains("the word is fig"), "{said}");
        let entry = |name: &str, user: &str| format!("\"{name}\": {{\"auth\": \"{user}\"}}");
        let entries = [
            entry("192.0.2.1:5004", "bWU6c0BjcmV0"),
            entry("192.0.2.1:5002/debian", "bWU6c0BjcmV0"),
            entry("192.0.2.1:5002", "bm90Om1l"),
        ];
        let file = format!("{{\"auths\": {{{}}}}}", entries.join(","));
        fs::write(site.far.folder.join("registries.json"), file).unwrap();
        for port in [5002, 5004] {
            let said = site.boots(&of("", port));
            assert!(said.contains("the word is fig"), "{port}:\n{said}");
        }
        let boot_file = "oci://me:s%40cret@192.0.2.1:5005/debian:kernel";
        let output = Command::new(env!("CARGO_BIN_EXE_wireboot"))
            .args([
                "boot",
                "-i",
                "near",
                "--timeout",
                "20",
                "--stop-after",
                "image",
            ])
            .args(["--ca", &site.served.join("own.pem").display().to_string()])
            .args(["--boot-file", boot_file])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(
            !String::from_utf8_lossy(&output.stderr).contains("cret"),
            "{output:?}"
        );
    });
}

#[test]
#[ignore = "needs CAP_SYS_ADMIN, docker-registry, Python, and a kernel with squashfs, loop and overlay"]
fn a_mirror_of_a_registry_is_asked_beside_it_and_each_gets_what_is_meant_for_it() {
    in_new_namespace(|| {
        let site = Site::new();
        site.tree("fig");
        site.make("mksquashfs $tree a.squashfs -quiet");
        let _registry = serve(&site, "artifact(\"img\", [(\"a.squashfs\", octets)])");
        // Nobody is at 4998; 5000 gives all, 5001 a token to everybody, 5004 wants a password.
        for (registry, mirror) in [
            ("192.0.2.1:5001", 4998),
            ("192.0.2.1:4998", 5000),
            ("192.0.2.1:4998", 5001),
            ("192.0.2.1:5004", 5000),
            ("me:s%40cret@192.0.2.1:5004", 4998),
        ] {
            let said = site.boots(&format!(
                "root=oci+http://{registry}/debian:img wireboot.mirror=http://192.0.2.1:{mirror}/"
            ));
            assert!(
                said.contains("the word is fig"),
                "{registry}, {mirror}:\n{said}"
            );
        }
        // The registry's password is not the mirror's.
        let words = "root=oci+http://me:s%40cret@192.0.2.1:4998/debian:img \
                     wireboot.mirror=http://192.0.2.1:5004/";
        let _ = fs::remove_file(site.served.join("seen"));
        site.fails_with(words, 7, "asks for Basic realm=");
        assert!(!site.served.join("seen").exists());
        let entry = "{\"auths\": {\"192.0.2.1:5004\": {\"auth\": \"bWU6c0BjcmV0\"}}}";
        fs::write(site.far.folder.join("registries.json"), entry).unwrap();
        assert!(site.boots(words).contains("the word is fig"));
    });
}

/// A registry that answers each name in a way of its own.
const ODD_REGISTRY: &str = r#"
import hashlib, http.server, json
image = open("a.squashfs", "rb").read()
def manifest(**fields):
    kind = "application/vnd.oci.image.manifest.v1+json"
    return json.dumps(dict({"schemaVersion": 2, "mediaType": kind}, **fields)).encode()
def layer(digest, size):
    kind, title = "application/octet-stream", {"org.opencontainers.image.title": "a.squashfs"}
    return {"mediaType": kind, "digest": digest, "size": size, "annotations": title}
digest = "sha256:" + hashlib.sha256(image).hexdigest()
good = manifest(layers=[layer(digest, len(image))])
other = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 9}
MANIFESTS = {
    "no-json": b"<html>down for maintenance</html>",
    "nothing": b"{}",
    "deep": b"[" * 100000,
    "no-layers": manifest(layers=[]),
    "odd-digest": manifest(layers=[layer("sha256:../../etc/passwd", 7)]),
    "other-processor": json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [dict(other, platform={"architecture": "s390x", "os": "linux"})]}).encode(),
}
CHALLENGES = {
    "none": None, "kerberos": "Negotiate", "no-realm": "Bearer", "no-url": 'Bearer realm="here"',
    "ftp": 'Bearer realm="ftp://192.0.2.1/token"', "open": 'Bearer realm="http://192.0.2.1:5100/token/nothing',
}
TOKENS = {
    "empty": b"", "html": b"<html>sign in</html>", "list": b"[1]", "null": b'{"token": null}',
    "lines": json.dumps({"token": "a\r\nX-Evil: 1"}).encode(), "long": b'{"token": "' + b"a" * 70000 + b'"}',
    "never-enough": b'{"token": "a"}',
}
asked = {}
class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *words): pass
    def do_GET(self):
        _, kind, name, *rest = self.path.split("?")[0].split("/")
        asked[self.path] = asked.get(self.path, 0) + 1
        assert "X-Evil" not in self.headers
        status, headers, content = 200, {}, good
        if kind == "token":
            content = TOKENS[name]
        elif rest[0] == "blobs":
            content = image
        elif name == "busy" and asked[self.path] == 1 or name == "always-busy":
            status, headers["Retry-After"] = 429, "1"
        elif name in CHALLENGES:
            status = 401
            if CHALLENGES[name]:
                headers["WWW-Authenticate"] = CHALLENGES[name]
        elif name in TOKENS:
            status, headers["WWW-Authenticate"] = 401, 'Bearer realm="http://192.0.2.1:5100/token/%s"' % name
        elif name == "circle":
            status, headers["Location"] = 307, self.path
        content = MANIFESTS.get(name, content)
        self.send_response(status)
        for header, value in dict(headers, **{"Content-Length": str(len(content))}).items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(content)
server = http.server.ThreadingHTTPServer(("0.0.0.0", 5100), Registry)
print("the registry is ready", flush=True)
server.serve_forever()
"#;

#[test]
#[ignore = "needs CAP_SYS_ADMIN, Python, and a kernel with squashfs, loop and overlay"]
fn odd_answers_of_a_registry_end_the_boot_by_what_they_are_and_one_that_is_busy_is_asked_again() {
    in_new_namespace(|| {
        let site = Site::new();
        site.tree("fig");
        site.make("mksquashfs $tree a.squashfs -quiet");
        let script = site.far.write("odd.py", ODD_REGISTRY);
        let command = format!("env -C {} python3 {script}", site.served.display());
        let _registry = site.far.serve(&command, "the registry is ready");
        let of = |name: &str| format!("root=oci+http://192.0.2.1:5100/{name}:x");
        assert!(site.boots(&of("busy")).contains("the word is fig"));
        for (name, code, why) in [
            ("always-busy", 7, "429"),
            ("circle", 7, "more than 10 redirections"),
            ("no-json", 6, "the manifest is damaged"),
            ("nothing", 6, "the manifest has no layers"),
            ("deep", 6, "the manifest is damaged"),
            ("no-layers", 6, "the manifest has no layers"),
            ("odd-digest", 6, "has no SHA-256"),
            ("other-processor", 6, "no manifest for this processor"),
            ("none", 7, "401 Unauthorized"),
            ("kerberos", 7, "401 Unauthorized"),
            ("no-realm", 7, "401 Unauthorized"),
            ("no-url", 7, "asks for Bearer realm="),
            ("ftp", 7, "asks for Bearer realm="),
            ("open", 7, "there is no token"),
            ("empty", 7, "gives no token"),
            ("html", 7, "gives no token"),
            ("list", 7, "gives no token"),
            ("null", 7, "gives no token"),
            ("lines", 7, "asks for Bearer realm="),
            ("long", 7, "more than the allowed 65536 bytes"),
            ("never-enough", 7, "asks for Bearer realm="),
        ] {
            site.fails_with(&of(name), code, why);
        }
    });
}
