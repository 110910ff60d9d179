//! Packs values for the scripts, as msgpack arrays of numbers and texts. Lua's reader knows no other type for bytes than text.

/// What can be packed.
pub(crate) trait Pack {
    fn pack(&self, to: &mut Vec<u8>);
}

/// Packs a value.
pub(crate) fn pack(value: &impl Pack) -> Vec<u8> {
    let mut packed = Vec::with_capacity(64);
    value.pack(&mut packed);
    packed
}

/// Bytes that are no text, such as an id.
pub(crate) struct Bytes<'b>(pub(crate) &'b [u8]);

impl Pack for i64 {
    fn pack(&self, to: &mut Vec<u8>) {
        match u8::try_from(*self) {
            Ok(small @ 0..=0x7f) => to.push(small),
            _ => {
                to.push(0xd3);
                to.extend_from_slice(&self.to_be_bytes());
            }
        }
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {
        $(impl Pack for $number {
            fn pack(&self, to: &mut Vec<u8>) {
                // Beyond a signed number nothing is told apart: Lua counts in floating point.
                i64::try_from(*self).unwrap_or(i64::MAX).pack(to);
            }
        })*
    };
}

numbers! { u8 i16 u32 u64 usize }

impl Pack for Bytes<'_> {
    fn pack(&self, to: &mut Vec<u8>) {
        // No text of this library comes near four billion bytes.
        let len = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        match (u8::try_from(len), u16::try_from(len)) {
            (Ok(short @ 0..=31), _) => to.push(0xa0 | short),
            (Ok(short), _) => to.extend_from_slice(&[0xd9, short]),
            (_, Ok(long)) => {
                to.push(0xda);
                to.extend_from_slice(&long.to_be_bytes());
            }
            _ => {
                to.push(0xdb);
                to.extend_from_slice(&len.to_be_bytes());
            }
        }
        to.extend_from_slice(self.0);
    }
}

impl Pack for &str {
    fn pack(&self, to: &mut Vec<u8>) {
        Bytes(self.as_bytes()).pack(to);
    }
}

impl Pack for String {
    fn pack(&self, to: &mut Vec<u8>) {
        Bytes(self.as_bytes()).pack(to);
    }
}

/// Something packed already.
pub(crate) struct Packed(pub(crate) Vec<u8>);

impl Pack for Packed {
    fn pack(&self, to: &mut Vec<u8>) {
        Bytes(&self.0).pack(to);
    }
}

fn array(len: usize, to: &mut Vec<u8>) {
    match u8::try_from(len) {
        Ok(short @ 0..=15) => to.push(0x90 | short),
        _ => {
            to.push(0xdd);
            to.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
}

impl<T: Pack> Pack for Vec<T> {
    fn pack(&self, to: &mut Vec<u8>) {
        array(self.len(), to);
        self.iter().for_each(|item| item.pack(to));
    }
}

macro_rules! tuples {
    ($(($($name:ident)+))*) => {
        $(impl<$($name: Pack),+> Pack for ($($name,)+) {
            #[allow(non_snake_case)]
            fn pack(&self, to: &mut Vec<u8>) {
                let ($($name,)+) = self;
                array([$(stringify!($name)),+].len(), to);
                $($name.pack(to);)+
            }
        })*
    };
}

tuples! { (A B) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G H I) (A B C D E F G H I J) (A B C D E F G H I J K) }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_reads_back() {
        let long = "y".repeat(31);
        let texts = vec!["", "x", &long].into_iter().map(str::to_owned);
        let texts: Vec<String> = texts.chain(["z".repeat(200), "ä".repeat(40_000)]).collect();
        let numbers = vec![0_i64, 127, 128, -1, i64::MIN, i64::MAX];
        let packed = pack(&(texts.clone(), numbers.clone()));
        type Read = (Vec<String>, Vec<i64>);
        assert_eq!(rmp_serde::from_slice::<Read>(&packed).unwrap(), (texts, numbers));
        let many = pack(&vec![1_u8; 1_000]);
        assert_eq!(rmp_serde::from_slice::<Vec<u8>>(&many).unwrap(), vec![1; 1_000]);
    }

    #[test]
    fn bytes_that_are_no_text_read_back() {
        let packed = pack(&(Bytes(&[0xff; 16]), 7_u64));
        let (bytes, n): (serde_bytes::ByteBuf, u64) = rmp_serde::from_slice(&packed).unwrap();
        assert_eq!((bytes.as_slice(), n), (&[0xff; 16][..], 7));
    }
}
