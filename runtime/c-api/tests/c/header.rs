//! The header declares what the library defines: every function, with the same types under the same names.

use std::collections::BTreeMap;
use std::path::Path;

const HEADER: &str = include_str!("../../include/countersign.h");

#[test]
fn the_header_declares_what_the_library_defines() {
    let mut defined = BTreeMap::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let source = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for function in source.split("pub(crate) extern \"C\" fn ").skip(1) {
            let (name, declaration) = declaration(function);
            assert!(source.contains(&format!(
                "#[unsafe(no_mangle)]\npub(crate) extern \"C\" fn {name}("
            )));
            defined.insert(name, declaration);
        }
    }
    assert!(defined.len() > 50, "{}", defined.len());
    let declared = declared();
    for (name, declaration) in &defined {
        assert_eq!(declared.get(name), Some(declaration), "{name}");
    }
    assert_eq!(
        declared.keys().collect::<Vec<_>>(),
        defined.keys().collect::<Vec<_>>()
    );
}

/// What the header says of each function, `const` before objects aside, which C alone knows.
fn declared() -> BTreeMap<String, String> {
    let mut code = String::new();
    for part in HEADER.split("/*") {
        code += part.split_once("*/").map_or(part, |(_, code)| code);
    }
    code.split(';')
        .filter_map(|statement| {
            let statement = statement
                .lines()
                .filter(|line| !line.starts_with('#'))
                .collect::<Vec<_>>()
                .join(" ");
            let (before, arguments) = statement.split_once('(')?;
            let name = before.rsplit([' ', '*']).next()?.to_owned();
            let typedef = before.trim_start().starts_with("typedef");
            let text = format!("{}({arguments}", before.trim());
            (!typedef && name.starts_with("countersign_")).then(|| (name, normal(&text)))
        })
        .collect()
}

/// A function of the library, which begins at its name, as C declares it.
fn declaration(function: &str) -> (String, String) {
    let (name, rest) = function.split_once('(').unwrap();
    let (arguments, rest) = rest.split_once(')').unwrap();
    let result = rest.split_once('{').unwrap().0.trim();
    let result = result.strip_prefix("->").map_or("void", str::trim);
    // So that no comma stands within a type.
    let arguments = arguments.replace("'_, ", "'_ ");
    let arguments: Vec<String> = arguments
        .split(',')
        .map(str::trim)
        .filter(|argument| !argument.is_empty())
        .map(|argument| {
            let (name, of) = argument.split_once(": ").unwrap();
            format!("{} {}", in_c(of), name.trim_start_matches("mut "))
        })
        .collect();
    let arguments = match arguments.is_empty() {
        true => "void".to_owned(),
        false => arguments.join(", "),
    };
    let text = format!("{} {name}({arguments})", in_c(result));
    (name.to_owned(), normal(&text))
}

/// What a type of the library is for C.
fn in_c(of: &str) -> String {
    let inner = |start: &str, end: &str| of.strip_prefix(start)?.strip_suffix(end);
    if let Some(object) = inner("Option<&", ">").or_else(|| inner("Option<Box<", ">>")) {
        return format!("countersign_{} *", object.to_lowercase());
    }
    if let Some(object) = inner("NewObject<'_ ", ">") {
        return format!("countersign_{} **", object.to_lowercase());
    }
    match of {
        "()" | "void" => "void",
        "Text" => "const char *",
        "Texts" => "const char *const *",
        "Data" => "const uint8_t *",
        "Out<'_ u8>" => "uint8_t *",
        "Option<LineFunction>" => "countersign_line_fn",
        "*mut c_void" => "void *",
        "bool" => "bool",
        "c_int" => "int",
        "u8" => "uint8_t",
        "u64" => "uint64_t",
        "usize" => "size_t",
        _ => panic!("what is {of} for C?"),
    }
    .to_owned()
}

/// One blank between words, none beside marks.
fn normal(text: &str) -> String {
    let mut spaced = String::new();
    for c in text.chars() {
        if matches!(c, '*' | '(' | ')' | ',') {
            spaced += &format!(" {c} ");
        } else {
            spaced.push(c);
        }
    }
    spaced
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace("const countersign_", "countersign_")
}
