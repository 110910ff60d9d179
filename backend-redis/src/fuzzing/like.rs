//! Replies made of bytes: mostly of the shape that is asked for, and here and there of another.

use arbitrary::{Result, Unstructured};
use redis::Value;

use crate::pack::{Bytes, Pack};

/// What a reply is to look like.
#[derive(Clone, Copy)]
pub(super) enum Like {
    Int,
    Id,
    Bytes,
    /// A number from 0 to 3, by which a script tells what came of a call.
    Code,
    Word(&'static str),
    Text(&'static [&'static str]),
    /// A msgpack array of these.
    Packed(&'static [Like]),
    List(&'static [Like]),
    /// Any number of these, one behind the other.
    Many(&'static [Like]),
}

pub(super) fn make(u: &mut Unstructured<'_>, like: Like) -> Result<Value> {
    if u.ratio(1, 24)? {
        return any(u, 3);
    }
    Ok(match like {
        Like::Int => number(u)?,
        Like::Code => Value::Int(u.int_in_range(0..=3)?),
        Like::Word(word) => Value::BulkString(word.into()),
        Like::Text(texts) => Value::BulkString((*u.choose(texts)?).into()),
        Like::Id => Value::BulkString(u.arbitrary::<[u8; 16]>()?.into()),
        Like::Bytes => Value::BulkString(u.arbitrary()?),
        Like::Packed(_) => {
            let mut to = Vec::new();
            pack(u, like, &mut to)?;
            Value::BulkString(to)
        }
        Like::List(items) => {
            let cut = if u.ratio(1, 16)? { u.int_in_range(0..=items.len())? } else { items.len() };
            Value::Array(items[..cut].iter().map(|like| make(u, *like)).collect::<Result<_>>()?)
        }
        Like::Many(items) => {
            let mut values = Vec::new();
            for _ in 0..u.int_in_range(0..=4)? {
                for like in items {
                    values.push(make(u, *like)?);
                }
            }
            Value::Array(values)
        }
    })
}

/// A number, or a text that may be one.
fn number(u: &mut Unstructured<'_>) -> Result<Value> {
    let number: i64 = if u.arbitrary()? { u.int_in_range(-2..=9)? } else { u.arbitrary()? };
    Ok(if u.arbitrary()? {
        Value::Int(number)
    } else {
        Value::BulkString(number.to_string().into())
    })
}

/// A value in msgpack.
fn pack(u: &mut Unstructured<'_>, like: Like, to: &mut Vec<u8>) -> Result<()> {
    if u.ratio(1, 48)? {
        to.extend_from_slice(&u.arbitrary::<Vec<u8>>()?);
        return Ok(());
    }
    match like {
        Like::Int => u.arbitrary::<i64>()?.pack(to),
        Like::Code => u.int_in_range(0..=8_i64)?.pack(to),
        Like::Id => Bytes(&u.arbitrary::<[u8; 16]>()?).pack(to),
        Like::Bytes => Bytes(&u.arbitrary::<Vec<u8>>()?).pack(to),
        Like::Word(word) => word.pack(to),
        Like::Text(texts) => (*u.choose(texts)?).pack(to),
        Like::List(items) | Like::Packed(items) => {
            to.push(0xdd);
            to.extend_from_slice(&u32::try_from(items.len()).unwrap().to_be_bytes());
            for like in items {
                pack(u, *like, to)?;
            }
        }
        Like::Many(items) => {
            let count = u.int_in_range(0..=3)?;
            to.push(0xdd);
            to.extend_from_slice(&(count * u32::try_from(items.len()).unwrap()).to_be_bytes());
            for _ in 0..count {
                for like in items {
                    pack(u, *like, to)?;
                }
            }
        }
    }
    Ok(())
}

/// Anything that a server can say.
fn any(u: &mut Unstructured<'_>, depth: u32) -> Result<Value> {
    let most = if depth == 0 { 6 } else { 8 };
    Ok(match u.int_in_range(0..=most)? {
        0 => Value::Nil,
        1 => Value::Int(u.arbitrary()?),
        2 => Value::BulkString(u.arbitrary()?),
        3 => Value::SimpleString(u.arbitrary()?),
        4 => Value::Okay,
        5 => Value::Boolean(u.arbitrary()?),
        6 => Value::Double(u.arbitrary()?),
        7 => {
            let count = u.int_in_range(0..=4)?;
            Value::Array((0..count).map(|_| any(u, depth - 1)).collect::<Result<_>>()?)
        }
        _ => {
            let count = u.int_in_range(0..=3)?;
            let mut pair = || -> Result<_> { Ok((any(u, depth - 1)?, any(u, depth - 1)?)) };
            Value::Map((0..count).map(|_| pair()).collect::<Result<_>>()?)
        }
    })
}
