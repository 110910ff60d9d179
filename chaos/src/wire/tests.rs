//! The two protocols, byte by byte and in one piece.

use super::postgres::Postgres;
use super::redis::Redis;
use super::{Conversation, Piece};

/// A message of PostgreSQL's.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind][..], &length, body].concat()
}

fn startup(code: u32) -> Vec<u8> {
    let code = code.to_be_bytes();
    [&8_u32.to_be_bytes()[..], &code].concat()
}

/// Lets both sides speak in turn, in pieces of so many bytes.
fn talk<C: Conversation>(mut c: C, turns: &[(&[u8], &[u8])], portion: usize) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (request, reply) in turns {
        request.chunks(portion).for_each(|bytes| c.requested(bytes));
        for bytes in reply.chunks(portion) {
            pieces.extend(c.replied(bytes));
        }
    }
    let sent: Vec<u8> = turns.iter().flat_map(|(_, reply)| reply.to_vec()).collect();
    let got: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.clone()).collect();
    assert_eq!(got, sent, "bytes are missing, or in another order");
    pieces
}

fn done(pieces: &[Piece]) -> Vec<&str> {
    pieces.iter().filter_map(|piece| piece.done.as_deref()).collect()
}

#[test]
fn postgres_tells_what_is_committed() {
    let prepare = [
        message(b'P', b"one\0-- Takes it\nUPDATE a SET b = 1\0\0\0"),
        message(b'P', b"two\0SELECT 1\0\0\0"),
        message(b'S', b""),
    ]
    .concat();
    let bind = |name: &str| {
        let body = [b"\0", name.as_bytes(), b"\0\0\0\0\0\0\0"].concat();
        [message(b'B', &body), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat()
    };
    let ready = |status: &[u8]| message(b'Z', status);
    let complete = |status: &[u8]| [message(b'C', b"UPDATE 1\0"), ready(status)].concat();
    let failed = [message(b'E', b"SERROR\0\0"), ready(b"I")].concat();
    let (ssl, hello) = (startup(80_877_103), startup(196_608));
    let begun = [message(b'R', &[0; 4]), ready(b"I")].concat();
    // The name of a level of isolation commits nothing.
    let begin = message(b'Q', b"BEGIN ISOLATION LEVEL READ COMMITTED\0");
    let commit = message(b'Q', b"COMMIT\0");
    let (one, two) = (bind("one"), bind("two"));
    let (idle, open) = (complete(b"I"), complete(b"T"));
    let ready = ready(b"I");
    let turns: [(&[u8], &[u8]); 12] = [
        (&ssl, b"N"),
        (&hello, &begun),
        (&prepare, &ready),
        (&two, &idle),
        (&one, &idle),
        (&begin, &open),
        (&one, &open),
        (&commit, &idle),
        (&one, &failed),
        (&two, &open),
        (&commit, &idle),
        (&one, &idle),
    ];
    let expected = ["-- Takes it", "COMMIT after -- Takes it", "COMMIT", "-- Takes it"];
    for portion in [1, 3, 1_000] {
        let pieces = talk(Postgres::new(), &turns, portion);
        assert_eq!(done(&pieces), expected, "{portion}");
    }
}

#[test]
fn redis_tells_which_script_was_run() {
    let evalsha = b"*4\r\n$7\r\nEVALSHA\r\n$16\r\n0123456789abcdef\r\n$1\r\n0\r\n$3\r\na\r\n\r\n";
    let ping = b"*1\r\n$4\r\nPING\r\n";
    let both = [&ping[..], evalsha].concat();
    let reply = b"*3\r\n:1\r\n$3\r\na\r\n\r\n%1\r\n+k\r\n*-1\r\n";
    let answers = [b"+PONG\r\n", &reply[..]].concat();
    let pushed = [b">2\r\n+a\r\n+b\r\n", &reply[..]].concat();
    let turns: [(&[u8], &[u8]); 4] = [
        (ping, b"+PONG\r\n"),
        (&both, &answers),
        (evalsha, b"-NOSCRIPT no\r\n"),
        (evalsha, &pushed),
    ];
    for portion in [1, 5, 1_000] {
        let pieces = talk(Redis::new(), &turns, portion);
        assert_eq!(done(&pieces), ["script 0123456789ab"; 2], "{portion}");
    }
}

#[test]
fn redis_names_the_scripts_of_this_build() {
    let scripts = windlass::redis::scripts();
    let (digest, _) = scripts.iter().find(|(_, name)| *name == "claim").unwrap();
    let evalsha = format!("*2\r\n$7\r\nEVALSHA\r\n$40\r\n{digest}\r\n");
    let turns: [(&[u8], &[u8]); 1] = [(evalsha.as_bytes(), b":1\r\n")];
    assert_eq!(done(&talk(Redis::new(), &turns, 1_000)), ["script claim"]);
}

#[test]
fn redis_counts_no_replies_where_messages_come_unasked() {
    let subscribe = b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n";
    let evalsha = b"*2\r\n$7\r\nEVALSHA\r\n$2\r\nab\r\n";
    let turns: [(&[u8], &[u8]); 2] =
        [(subscribe, b"*3\r\n+a\r\n+b\r\n:1\r\n"), (evalsha, b":1\r\n")];
    assert!(done(&talk(Redis::new(), &turns, 1_000)).is_empty());
}
