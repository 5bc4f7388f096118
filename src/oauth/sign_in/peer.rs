//! Whose program is at the other end of a connection from this machine.
//!
//! Whoever opens a sign-in's first page first gets its cookie, and any user of the machine may connect to its port. On Linux
//! the table of the machine's connections names the user of each. Elsewhere there is no such table to read, and all
//! connections pass.

use tokio::net::TcpStream;

/// Whether another user's program is at the other end.
#[cfg(target_os = "linux")]
pub(super) fn is_a_strangers(stream: &TcpStream) -> bool {
    let (Ok(theirs), Ok(ours)) = (stream.peer_addr(), stream.local_addr()) else {
        // It has gone already.
        return true;
    };
    table::is_a_strangers(ours, theirs, rustix::process::geteuid().as_raw())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_a_strangers(_: &TcpStream) -> bool {
    false
}

/// The kernel's table of connections (proc_pid_net(5)).
#[cfg(target_os = "linux")]
mod table {
    use std::fs::File;
    use std::io::{self, BufRead, BufReader};
    use std::net::{IpAddr, SocketAddr};

    /// The two files. A socket of IPv6 may be connected to an address of IPv4.
    const FILES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

    /// How often the table is read until a connection is in it: what ends meanwhile can make a reader miss a line.
    const TRIES: usize = 3;

    const ESTABLISHED: &str = "01";
    const LISTENING: &str = "0A";

    /// What the table says of a connection.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Said {
        /// Whose it is, and whether nobody has closed an end of it.
        User { id: u32, is_open: bool },
        /// It is not there, though the socket that it has come to is.
        Gone,
        /// This is not the table of our network, or can't be read.
        Nothing,
    }

    pub(super) fn is_a_strangers(ours: SocketAddr, theirs: SocketAddr, user: u32) -> bool {
        let said = || look(ours, theirs, FILES.map(|file| File::open(file).map(BufReader::new)));
        let said = (0..TRIES).map(|_| said()).find(|said| *said != Said::Gone).unwrap_or(Said::Gone);
        is_said_to_be_a_strangers(said, user)
    }

    pub(super) fn is_said_to_be_a_strangers(said: Said, user: u32) -> bool {
        match said {
            // Root may do everything anyway, and is whoever forwards ports of other machines. But a socket that its owner has
            // closed is said to be root's, too.
            Said::User { id, is_open } => id != user && (id != 0 || !is_open),
            // Nobody waits for an answer.
            Said::Gone => true,
            Said::Nothing => false,
        }
    }

    pub(super) fn look<R: BufRead>(
        ours: SocketAddr,
        theirs: SocketAddr,
        files: [io::Result<R>; 2],
    ) -> Said {
        let (ours, theirs) = (written(ours), written(theirs));
        let mut is_of_our_network = false;
        for file in files {
            // Without IPv6 there is no second one.
            let Ok(file) = file else { continue };
            for line in file.lines() {
                let Ok(line) = line else { break };
                let fields: Vec<&str> = line.split_ascii_whitespace().collect();
                let [_, local, remote, state, _, _, _, id, ..] = fields[..] else { continue };
                is_of_our_network |= state == LISTENING && ours.iter().any(|ours| ours == local);
                let is_it =
                    ours.iter().zip(&theirs).any(|(ours, theirs)| ours == remote && theirs == local);
                if let Some(id) = id.parse().ok().filter(|_| is_it) {
                    return Said::User { id, is_open: state == ESTABLISHED };
                }
            }
        }
        if is_of_our_network { Said::Gone } else { Said::Nothing }
    }

    /// An address as each file writes it: words of four bytes in the machine's own order, and the port.
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

        fn said(ours: &str, theirs: &str, v4: &str, v6: Option<&str>) -> Said {
            let v6 = v6.map(str::as_bytes).ok_or_else(|| io::ErrorKind::NotFound.into());
            look(ours.parse().unwrap(), theirs.parse().unwrap(), [Ok(v4.as_bytes()), v6])
        }

        #[cfg(target_endian = "little")]
        #[test]
        fn the_other_end_of_a_connection_is_found_in_either_table() {
            let (ours, theirs) = ("127.0.0.1:1455", "127.0.0.1:40000");
            let listening = line("0100007F:05AF", "00000000:0000", LISTENING, 1000);
            let our_end = line("0100007F:05AF", "0100007F:9C40", ESTABLISHED, 1000);
            let their_end = |state, user| line("0100007F:9C40", "0100007F:05AF", state, user);
            let user = |id, is_open| Said::User { id, is_open };
            let table = |more: &str| format!("{HEAD}{listening}{our_end}{more}");
            for (state, id, is_open) in [("01", 1000, true), ("01", 1001, true), ("05", 1001, false)] {
                let table = table(&their_end(state, id));
                assert_eq!(said(ours, theirs, &table, Some(HEAD)), user(id, is_open));
                assert_eq!(said(ours, theirs, &table, None), user(id, is_open));
            }
            // A socket of IPv6 that is connected to an address of IPv4.
            let mapped = |port| format!("0000000000000000FFFF00000100007F:{port}");
            let v6 = format!("{HEAD}{}", line(&mapped("9C40"), &mapped("05AF"), ESTABLISHED, 1002));
            assert_eq!(said(ours, theirs, &table(""), Some(&v6)), user(1002, true));
            // IPv6 itself.
            let one = |port| format!("00000000000000000000000001000000:{port}");
            let v6 = format!("{HEAD}{}", line(&one("9C40"), &one("05AF"), ESTABLISHED, 1003));
            assert_eq!(said("[::1]:1455", "[::1]:40000", HEAD, Some(&v6)), user(1003, true));

            // Neither our own end, nor another connection, nor the listening socket.
            let other = line("0100007F:9C41", "0100007F:05AF", ESTABLISHED, 1001);
            assert_eq!(said(ours, theirs, &table(&other), Some(HEAD)), Said::Gone);
            for table in ["", HEAD, "nonsense\n1: 2 3\n", &format!("{HEAD}{our_end}")] {
                assert_eq!(said(ours, theirs, table, Some(HEAD)), Said::Nothing);
            }
        }

        #[test]
        fn root_and_this_user_are_no_strangers_and_who_has_gone_is_one() {
            let user = |id, is_open| Said::User { id, is_open };
            for (said, is_a_strangers) in [
                (user(1000, true), false),
                (user(1000, false), false),
                (user(1001, true), true),
                (user(1001, false), true),
                (user(0, true), false),
                (user(0, false), true),
                (Said::Gone, true),
                (Said::Nothing, false),
            ] {
                assert_eq!(is_said_to_be_a_strangers(said, 1000), is_a_strangers, "{said:?}");
            }
        }

        #[test]
        fn a_connection_of_this_process_is_this_user_s() {
            for address in ["127.0.0.1:0", "[::1]:0"] {
                // A machine without IPv6.
                let Ok(listener) = std::net::TcpListener::bind(address) else { continue };
                let ours = listener.local_addr().unwrap();
                let client = std::net::TcpStream::connect(ours).unwrap();
                let (_server, theirs) = listener.accept().unwrap();
                let files = FILES.map(|file| File::open(file).map(BufReader::new));
                let id = rustix::process::geteuid().as_raw();
                assert_eq!(look(ours, theirs, files), Said::User { id, is_open: true });
                drop(client);
            }
        }
    }
}
