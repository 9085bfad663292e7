use super::*;
use crate::zip::tests::Packing;

/// An array file as NumPy writes it.
fn npy(descr: &str, shape: &str, values: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values);
    bytes
}

/// An archive of array files; deflated, or stored with sizes in extra fields as NumPy does.
fn archive(arrays: &[(&str, Vec<u8>)], deflated: bool) -> Vec<u8> {
    let names: Vec<String> = arrays.iter().map(|(name, _)| format!("{name}.npy")).collect();
    let members: Vec<(&str, &[u8])> =
        names.iter().zip(arrays).map(|(name, (_, array))| (name.as_str(), &array[..])).collect();
    zip::tests::archive(&members, if deflated { Packing::Deflated } else { Packing::StoredWide })
}

fn good() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("x", npy("|u1", "(2, 1, 3)", &[1, 2, 3, 4, 5, 6])),
        ("y", npy("<i8", "(2,)", &[7i64.to_le_bytes(), 9i64.to_le_bytes()].concat())),
    ]
}

fn parse_as(bytes: &[u8], split: Split) -> Result<Labelled, NpzError> {
    parse(Path::new("data.npz"), bytes, split)
}

#[track_caller]
fn check(arrays: &[(&str, Vec<u8>)], expected: &str) {
    let error = parse_as(&archive(arrays, true), Split::Train).unwrap_err();
    assert_eq!(error.to_string(), format!("`data.npz`: {expected}"));
}

#[test]
fn stored_and_deflated_archives_are_read() {
    for deflated in [false, true] {
        let Labelled::Bytes(found) = parse_as(&archive(&good(), deflated), Split::Test).unwrap()
        else {
            panic!("bytes become numbers");
        };
        assert_eq!((&found.shape[..], &found.labels[..]), (&[1, 3][..], &[7, 9][..]));
        assert_eq!(found.sample(1), [4, 5, 6]);
    }
}

#[test]
fn halves_are_told_apart_by_name_and_numbers_stay_numbers() {
    let floats: Vec<u8> = [0.5f32, -1.5].iter().flat_map(|value| value.to_le_bytes()).collect();
    let doubles: Vec<u8> = [2.5f64, 3.5].iter().flat_map(|value| value.to_le_bytes()).collect();
    let archive = archive(
        &[
            ("x_train", npy("<f4", "(2, 1)", &floats)),
            ("y_train", npy("|u1", "(2, 1)", &[1, 0])),
            ("x_test", npy("<f8", "(2, 1)", &doubles)),
            ("y_test", npy("<u2", "(2,)", &[1, 0, 0, 0])),
        ],
        true,
    );
    for (split, samples) in [(Split::Train, [0.5, -1.5]), (Split::Test, [2.5, 3.5])] {
        let labels = vec![1, 0];
        let expected = Dataset { shape: vec![1], samples: samples.to_vec(), labels };
        assert_eq!(parse_as(&archive, split).unwrap(), Labelled::Numbers(expected));
    }
}

#[test]
fn each_wrong_array_is_named_with_what_was_expected() {
    let with = |name: &str, array: Vec<u8>| {
        let mut arrays = good();
        arrays
            .iter_mut()
            .filter(|(own, _)| *own == name)
            .for_each(|(_, own)| array.clone_into(own));
        arrays
    };
    check(&good()[..1], "it has neither `y_train` nor `y`, only [\"x.npy\"]");
    check(
        &with("y", npy("<i8", "(2,)", &[300i64.to_le_bytes(); 2].concat())),
        "array `y` has label 300 for sample 0, expected 0 to 255",
    );
    check(
        &with("y", npy("<f4", "(2,)", &[0; 8])),
        "array `y` holds numbers with a fraction, expected whole ones",
    );
    check(
        &with("y", npy("|u1", "(1, 2)", &[0; 2])),
        "array `y` has shape [1, 2], expected one label a sample",
    );
    check(
        &with("y", npy("|u1", "(3,)", &[0; 3])),
        "array `x` has 2 samples, expected 3, one for each label",
    );
    check(
        &with("x", npy("|u1", "(2,)", &[0; 2])),
        "array `x` has shape [2], expected samples and the sizes of one, as [60000, 28, 28]",
    );
    check(
        &with("x", npy(">f4", "(2, 1)", &[0; 8])),
        "array `x` has type `>f4`, expected u1, u2, u4, u8, i1, i2, i4, i8, f4 or f8, little-endian",
    );
    check(
        &with("x", npy("|O", "(2, 1)", &[0; 8])),
        "array `x` has type `|O`, expected u1, u2, u4, u8, i1, i2, i4, i8, f4 or f8, little-endian",
    );
    check(
        &with("x", npy("<f4", "(2, 2)", &[0; 8])),
        "array `x` has shape [2, 2] of `<f4` and 8 bytes of values, expected 16",
    );
    check(
        &with("x", npy("<f4", "(4294967296, 4294967296)", &[0; 8])),
        "array `x` has shape [4294967296, 4294967296] of `<f4` and 8 bytes of values, expected fewer dimensions",
    );
    check(
        &with("x", b"hello".to_vec()),
        "array `x` has no header of NumPy's format, versions 1 to 3",
    );
}

#[test]
fn no_damage_makes_it_panic() {
    for deflated in [false, true] {
        let whole = archive(&good(), deflated);
        for len in 0..whole.len() {
            assert!(parse_as(&whole[..len], Split::Train).is_err(), "{len}");
        }
        let mut survived = 0;
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                survived += usize::from(parse_as(&damaged, Split::Train).is_ok());
            }
        }
        println!("{survived} of {} damaged archives are still archives", 4 * whole.len());
    }
}

#[test]
fn an_entry_that_unpacks_to_more_than_it_says_is_refused() {
    let mut bytes =
        archive(&[("y", npy("|u1", "(2,)", &[1, 2])), ("x", npy("|u1", "(2, 1)", &[1, 2]))], true);
    let at = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    bytes[at + 24] -= 1;
    let error = parse_as(&bytes, Split::Train).unwrap_err().to_string();
    assert_eq!(error, "`data.npz`: array `y` is damaged: it unpacks to 130 bytes, expected 129");
}
