//! Redis' protocol, version 2: commands to bytes, bytes to replies.

use bytes::{Bytes, BytesMut};
use fred::bytes_utils::Str;
use fred::types::Value;

/// Nesting of a reply; no command that is sent here has a deeper one.
const DEPTH_MAX: usize = 8;
/// Room that is made for a list's items before they have come.
const ITEMS_AT_FIRST: usize = 1_024;

/// A reply.
#[derive(Debug, PartialEq)]
pub enum Reply {
    /// A value.
    Value(Value),
    /// The text of an error reply.
    Error(String),
}

/// What is no reply.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("Redis sent what is no reply of RESP2: {0}")]
pub struct Malformed(&'static str);

/// Appends a command.
///
/// # Errors
/// If an argument is of a type that no command here has.
pub fn write_command(out: &mut Vec<u8>, name: &str, args: &[Value]) -> Result<(), Malformed> {
    let mut number = itoa::Buffer::new();
    write_length(out, b'*', args.len() + 1);
    write_bulk(out, name.as_bytes());
    for arg in args {
        match arg {
            Value::String(text) => write_bulk(out, text.as_bytes()),
            Value::Bytes(bytes) => write_bulk(out, bytes),
            Value::Integer(integer) => write_bulk(out, number.format(*integer).as_bytes()),
            _ => return Err(Malformed("an argument that is no text and no integer")),
        }
    }
    Ok(())
}

fn write_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    write_length(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn write_length(out: &mut Vec<u8>, kind: u8, length: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Takes the first reply out of what was read; `None` if it is not whole yet.
///
/// # Errors
/// If it is no reply.
pub fn take_reply(input: &mut BytesMut) -> Result<Option<Reply>, Malformed> {
    let Some(size) = size_of(input, 0, 0)? else { return Ok(None) };
    let bytes = input.split_to(size).freeze();
    if bytes[0] == b'-' {
        let text = String::from_utf8_lossy(&bytes[1..bytes.len() - 2]);
        return Ok(Some(Reply::Error(text.into_owned())));
    }
    let mut at = 0;
    value(&bytes, &mut at).map(|value| Some(Reply::Value(value)))
}

/// The size of the reply that begins at `at`; `None` if it is not whole yet.
fn size_of(input: &[u8], at: usize, depth: usize) -> Result<Option<usize>, Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed("nested too deeply"));
    }
    let Some(line) = line_at(input, at) else { return Ok(None) };
    let after = line.len() + 2;
    match line[0] {
        b'+' | b'-' | b':' => Ok(Some(after)),
        b'$' => {
            let size = after + length(line)?.map_or(0, |length| length + 2);
            Ok(Some(size).filter(|size| input.len() - at >= *size))
        }
        b'*' => {
            let mut size = after;
            for _ in 0..length(line)?.unwrap_or(0) {
                match size_of(input, at + size, depth + 1)? {
                    Some(item) => size += item,
                    None => return Ok(None),
                }
            }
            Ok(Some(size))
        }
        _ => Err(Malformed("an unknown kind")),
    }
}

/// Reads the value at `at`, which is whole.
fn value(bytes: &Bytes, at: &mut usize) -> Result<Value, Malformed> {
    let line = line_at(bytes, *at).ok_or(Malformed("cut off"))?;
    let begin = *at + 1;
    *at += line.len() + 2;
    match line[0] {
        b'+' => Ok(text(bytes.slice(begin..*at - 2))),
        b':' => integer(&line[1..]).map(Value::Integer),
        b'$' => Ok(match length(line)? {
            None => Value::Null,
            Some(length) => {
                let begin = *at;
                *at += length + 2;
                text(bytes.slice(begin..begin + length))
            }
        }),
        b'*' => {
            let Some(count) = length(line)? else { return Ok(Value::Null) };
            let mut items = Vec::with_capacity(count.min(ITEMS_AT_FIRST));
            for _ in 0..count {
                items.push(value(bytes, at)?);
            }
            Ok(Value::Array(items))
        }
        _ => Err(Malformed("an error within a list")),
    }
}

/// A text, where the bytes are one.
fn text(bytes: Bytes) -> Value {
    match Str::from_inner(bytes) {
        Ok(text) => Value::String(text),
        Err(error) => Value::Bytes(error.into_inner()),
    }
}

/// The line at `at`, without its end: a kind and what follows it.
fn line_at(input: &[u8], at: usize) -> Option<&[u8]> {
    let rest = input.get(at..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    Some(&rest[..end]).filter(|line| !line.is_empty())
}

/// The length in a line; `None` where it is that of nothing.
fn length(line: &[u8]) -> Result<Option<usize>, Malformed> {
    match integer(&line[1..])? {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| Malformed("a negative length")),
    }
}

fn integer(digits: &[u8]) -> Result<i64, Malformed> {
    let digits = std::str::from_utf8(digits).ok();
    digits.and_then(|digits| digits.parse().ok()).ok_or(Malformed("no integer"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(input: &str) -> Result<Option<Reply>, Malformed> {
        take_reply(&mut BytesMut::from(input))
    }

    fn reply(value: impl Into<Value>) -> Result<Option<Reply>, Malformed> {
        Ok(Some(Reply::Value(value.into())))
    }

    #[test]
    fn replies_of_each_kind_are_read() {
        assert_eq!(taken("+OK\r\n"), reply("OK"));
        assert_eq!(taken(":-7\r\n"), reply(-7));
        assert_eq!(taken("$5\r\na\r\nbc\r\n"), reply("a\r\nbc"));
        assert_eq!(taken("$0\r\n\r\n"), reply(""));
        assert_eq!(taken("$-1\r\n"), reply(Value::Null));
        assert_eq!(taken("*-1\r\n"), reply(Value::Null));
        let nested = Value::Array(vec!["ok".into(), 7.into(), Value::Array(vec!["a".into()])]);
        assert_eq!(taken("*3\r\n$2\r\nok\r\n:7\r\n*1\r\n$1\r\na\r\n"), reply(nested));
        let error = Reply::Error("MOVED 7 10.0.0.1:6381".to_owned());
        assert_eq!(taken("-MOVED 7 10.0.0.1:6381\r\n"), Ok(Some(error)));
        let bytes = Value::Bytes(Bytes::from_static(b"\xff\x00"));
        let read = take_reply(&mut BytesMut::from(&b"$2\r\n\xff\x00\r\n"[..]));
        assert_eq!(read, reply(bytes));
    }

    #[test]
    fn reply_is_taken_once_it_is_whole() {
        let text = "*2\r\n$2\r\nok\r\n*1\r\n:7\r\n";
        for cut in 0..text.len() {
            assert_eq!(taken(&text[..cut]), Ok(None), "{cut}");
        }
        let mut two = BytesMut::from(format!("{text}+O").as_str());
        assert!(take_reply(&mut two).unwrap().is_some());
        assert_eq!(two, "+O");
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for text in ["hello\r\n", ":x\r\n", "$-2\r\n", "*1\r\n-ERR\r\n"] {
            assert!(taken(text).is_err(), "{text:?}");
        }
        assert!(taken(&"*1\r\n".repeat(10)).is_err());
    }

    #[test]
    fn command_is_a_list_of_its_arguments() {
        let mut out = Vec::new();
        let args = [Value::from("key"), Value::from(-12), Value::from_static(b"\xff")];
        write_command(&mut out, "SET", &args).unwrap();
        assert_eq!(out, b"*4\r\n$3\r\nSET\r\n$3\r\nkey\r\n$3\r\n-12\r\n$1\r\n\xff\r\n");
        assert!(write_command(&mut out, "SET", &[Value::Null]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = take_reply(&mut BytesMut::from(bytes.as_slice()));
        }

        #[test]
        fn no_line_makes_it_panic(text in "([*$+:-][0-9]{0,3}\r\n){0,12}") {
            let _ = take_reply(&mut BytesMut::from(text.as_str()));
        }
    }
}
