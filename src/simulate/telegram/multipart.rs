//! The little of `multipart/form-data` (RFC 7578) that an upload of one photo needs.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Returns the fields of a body, text as text and of a file its size in bytes, and its files.
pub(super) fn fields(body: &[u8], boundary: &str) -> (Map<String, Value>, BTreeMap<String, Vec<u8>>) {
    let delimiter = format!("--{boundary}");
    let (mut fields, mut files) = (Map::new(), BTreeMap::new());
    for (name, content, is_file) in split(body, delimiter.as_bytes()).into_iter().filter_map(field) {
        if is_file {
            fields.insert(name.clone(), json!({"bytes": content.len()}));
            files.insert(name, content.to_vec());
        } else {
            fields.insert(name, json!(String::from_utf8_lossy(content)));
        }
    }
    (fields, files)
}

/// Returns the name of a part, its content, and whether it is a file.
fn field(part: &[u8]) -> Option<(String, &[u8], bool)> {
    let end = find(part, b"\r\n\r\n")?;
    let head = str::from_utf8(&part[..end]).ok()?;
    let content = part[end + 4..].strip_suffix(b"\r\n")?;
    Some((quoted(head, " name=\"")?, content, quoted(head, "filename=\"").is_some()))
}

fn quoted(head: &str, before: &str) -> Option<String> {
    let (_, rest) = head.split_once(before)?;
    Some(rest.split_once('"')?.0.to_owned())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn split<'a>(mut bytes: &'a [u8], delimiter: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = find(bytes, delimiter) {
        parts.push(&bytes[..at]);
        bytes = &bytes[at + delimiter.len()..];
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_a_file_are_told_apart() {
        let body = b"--XX\r\nContent-Disposition: form-data; name=\"chat_id\"\r\n\r\n42\r\n--XX\r\n\
            Content-Disposition: form-data; name=\"reply_parameters\"\r\n\r\n{\"message_id\":1}\r\n--XX\r\n\
            Content-Disposition: form-data; name=\"photo\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n\
            \x89PNG\r\n\r\n\xff\r\n--XX--\r\n";
        let (fields, files) = fields(body, "XX");
        let expected = json!({"chat_id": "42", "reply_parameters": "{\"message_id\":1}", "photo": {"bytes": 9}});
        assert_eq!(Value::Object(fields), expected);
        assert_eq!(files, BTreeMap::from([("photo".to_owned(), b"\x89PNG\r\n\r\n\xff".to_vec())]));
    }

    proptest::proptest! {
        #[test]
        fn no_body_makes_it_panic(body in "(--X|\r|\n|name=\"|\"| |a|;){0,60}") {
            let (fields, files) = fields(body.as_bytes(), "X");
            assert!(files.len() <= fields.len());
        }
    }
}
