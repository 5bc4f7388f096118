//! Tells whether another user's program is at the other end of a connection from this machine.
//!
//! The first browser to open a sign-in's first page gets its cookie, and any user of the machine can connect to its port.
//! On Linux, the kernel's table of connections names the user of each. Elsewhere there is no such table, and all connections
//! pass.

use std::net::SocketAddr;

use tokio::net::TcpStream;

/// The two ends of a connection.
#[derive(Clone, Copy)]
pub(super) struct Peer {
    #[cfg_attr(not(target_os = "linux"), expect(dead_code))]
    ours: SocketAddr,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code))]
    theirs: SocketAddr,
}

impl Peer {
    /// `None` if the other end has gone already.
    pub(super) fn of(stream: &TcpStream) -> Option<Self> {
        Some(Self { ours: stream.local_addr().ok()?, theirs: stream.peer_addr().ok()? })
    }

    /// Whether another user's program is at the other end.
    #[cfg(target_os = "linux")]
    pub(super) async fn is_a_strangers(self) -> bool {
        let Self { ours, theirs } = self;
        let user = rustix::process::geteuid().as_raw();
        let is_stranger = move || table::is_a_strangers(ours, theirs, user);
        tokio::task::spawn_blocking(is_stranger).await.unwrap_or(true)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) async fn is_a_strangers(self) -> bool {
        false
    }
}

/// The kernel's table of connections (proc_pid_net(5)).
#[cfg(target_os = "linux")]
mod table {
    use std::fs::File;
    use std::io::{self, BufRead, BufReader};
    use std::net::{IpAddr, SocketAddr};

    /// An IPv6 socket may be connected to an IPv4 address, so both are read.
    const FILES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

    /// How often the table is read until a connection is in it: connections that end meanwhile can make a reader miss a line.
    const TRIES: usize = 3;

    const ESTABLISHED: &str = "01";
    const LISTENING: &str = "0A";

    /// The owner of a connection, according to the table.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Owner {
        /// The user's id, and whether both ends are still open.
        User { id: u32, is_open: bool },
        /// The connection is not in the table, though the listening socket is.
        Gone,
        /// The table is another network namespace's, or can't be read.
        Unknown,
    }

    pub(super) fn is_a_strangers(ours: SocketAddr, theirs: SocketAddr, user: u32) -> bool {
        let owner = || owner_of(ours, theirs, FILES.map(|file| File::open(file).map(BufReader::new)));
        let owner =
            (0..TRIES).map(|_| owner()).find(|owner| *owner != Owner::Gone).unwrap_or(Owner::Gone);
        is_stranger(owner, user)
    }

    pub(super) fn is_stranger(owner: Owner, user: u32) -> bool {
        match owner {
            // Root can do everything anyway, and forwards the ports of other machines. But the table also attributes
            // sockets that their owner has closed to root.
            Owner::User { id, is_open } => id != user && (id != 0 || !is_open),
            // Nobody waits for a response.
            Owner::Gone => true,
            Owner::Unknown => false,
        }
    }

    pub(super) fn owner_of<R: BufRead>(
        ours: SocketAddr,
        theirs: SocketAddr,
        files: [io::Result<R>; 2],
    ) -> Owner {
        let port = format!(":{:04X} ", ours.port());
        let (ours, theirs) = (written(ours), written(theirs));
        let mut is_of_our_network = false;
        for file in files {
            // Without IPv6 there is no second file.
            let Ok(file) = file else { continue };
            for line in file.lines() {
                let Ok(line) = line else { break };
                // Most lines of a long table are of other ports.
                if !line.contains(&port) {
                    continue;
                }
                let fields: Vec<&str> = line.split_ascii_whitespace().collect();
                let [_, local, remote, state, _, _, _, id, ..] = fields[..] else { continue };
                is_of_our_network |= state == LISTENING && ours.iter().any(|ours| ours == local);
                let is_their_end =
                    ours.iter().zip(&theirs).any(|(ours, theirs)| ours == remote && theirs == local);
                if let Some(id) = id.parse().ok().filter(|_| is_their_end) {
                    return Owner::User { id, is_open: state == ESTABLISHED };
                }
            }
        }
        if is_of_our_network { Owner::Gone } else { Owner::Unknown }
    }

    /// An address as each file writes it: four-byte words in the machine's byte order, and the port.
    fn written(address: SocketAddr) -> Vec<String> {
        let hex = |bytes: &[u8]| {
            let words = bytes.chunks_exact(4).map(|word| {
                let word = word.try_into().expect("a chunk has four bytes");
                format!("{:08X}", u32::from_ne_bytes(word))
            });
            format!("{}:{:04X}", words.collect::<String>(), address.port())
        };
        match address.ip() {
            IpAddr::V4(ip) => vec![hex(&ip.octets()), hex(&ip.to_ipv6_mapped().octets())],
            IpAddr::V6(ip) => vec![hex(&ip.octets())],
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

        /// A line as the kernel writes it.
        fn line(local: &str, remote: &str, state: &str, user: u32) -> String {
            format!(
                "   1: {local} {remote} {state} 00000000:00000000 00:00000000 00000000  {user:4}        0 126 1 \
                 0000000000000000 20 4 30 10 -1\n"
            )
        }

        fn owner(ours: &str, theirs: &str, v4: &str, v6: Option<&str>) -> Owner {
            let v6 = v6.map(str::as_bytes).ok_or_else(|| io::ErrorKind::NotFound.into());
            owner_of(ours.parse().unwrap(), theirs.parse().unwrap(), [Ok(v4.as_bytes()), v6])
        }

        #[cfg(target_endian = "little")]
        #[test]
        fn the_other_end_of_a_connection_is_found_in_either_table() {
            let (ours, theirs) = ("127.0.0.1:1455", "127.0.0.1:40000");
            let listening = line("0100007F:05AF", "00000000:0000", LISTENING, 1000);
            let our_end = line("0100007F:05AF", "0100007F:9C40", ESTABLISHED, 1000);
            let their_end = |state, user| line("0100007F:9C40", "0100007F:05AF", state, user);
            let user = |id, is_open| Owner::User { id, is_open };
            let table = |more: &str| format!("{HEAD}{listening}{our_end}{more}");
            for (state, id, is_open) in [("01", 1000, true), ("01", 1001, true), ("05", 1001, false)] {
                let table = table(&their_end(state, id));
                assert_eq!(owner(ours, theirs, &table, Some(HEAD)), user(id, is_open));
                assert_eq!(owner(ours, theirs, &table, None), user(id, is_open));
            }
            // An IPv6 socket that is connected to an IPv4 address.
            let mapped = |port| format!("0000000000000000FFFF00000100007F:{port}");
            let v6 = format!("{HEAD}{}", line(&mapped("9C40"), &mapped("05AF"), ESTABLISHED, 1002));
            assert_eq!(owner(ours, theirs, &table(""), Some(&v6)), user(1002, true));
            // IPv6 itself.
            let one = |port| format!("00000000000000000000000001000000:{port}");
            let v6 = format!("{HEAD}{}", line(&one("9C40"), &one("05AF"), ESTABLISHED, 1003));
            assert_eq!(owner("[::1]:1455", "[::1]:40000", HEAD, Some(&v6)), user(1003, true));

            // Neither our own end, nor another connection, nor the listening socket.
            let other = line("0100007F:9C41", "0100007F:05AF", ESTABLISHED, 1001);
            assert_eq!(owner(ours, theirs, &table(&other), Some(HEAD)), Owner::Gone);
            for table in ["", HEAD, "nonsense\n1: 2 3\n", &format!("{HEAD}{our_end}")] {
                assert_eq!(owner(ours, theirs, table, Some(HEAD)), Owner::Unknown);
            }
        }

        #[test]
        fn root_and_this_user_are_trusted_and_a_closed_connection_is_not() {
            let user = |id, is_open| Owner::User { id, is_open };
            for (owner, expected) in [
                (user(1000, true), false),
                (user(1000, false), false),
                (user(1001, true), true),
                (user(1001, false), true),
                (user(0, true), false),
                (user(0, false), true),
                (Owner::Gone, true),
                (Owner::Unknown, false),
            ] {
                assert_eq!(is_stranger(owner, 1000), expected, "{owner:?}");
            }
        }

        #[test]
        fn a_connection_of_this_process_belongs_to_this_user() {
            for address in ["127.0.0.1:0", "[::1]:0"] {
                // A machine without IPv6.
                let Ok(listener) = std::net::TcpListener::bind(address) else { continue };
                let ours = listener.local_addr().unwrap();
                let client = std::net::TcpStream::connect(ours).unwrap();
                let (_server, theirs) = listener.accept().unwrap();
                let files = FILES.map(|file| File::open(file).map(BufReader::new));
                let id = rustix::process::geteuid().as_raw();
                assert_eq!(owner_of(ours, theirs, files), Owner::User { id, is_open: true });
                drop(client);
            }
        }
    }
}
