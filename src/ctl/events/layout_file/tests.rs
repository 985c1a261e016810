use super::*;

fn toml(text: &str) -> Result<Vec<Section>, String> {
    parse(text, Format::Toml)
}

/// The rows of a section.
fn rows_of(rows: &str) -> Result<Vec<(String, u32)>, String> {
    let sections = toml(&format!("sections = [{{ name = \"S\", price = 1, rows = {rows} }}]"))?;
    let rows = sections.into_iter().next().unwrap().rows.unwrap();
    Ok(rows.into_iter().map(|row| (row.row, row.seats)).collect())
}

#[test]
fn both_formats_give_the_same_sections() {
    let json = r#"{ "sections": [
        { "name": "Stalls", "price": 4500, "rows": [{ "row": "A", "seats": 2 }] },
        { "name": "Floor", "price": 0, "capacity": 3 } ] }"#;
    let lines = r#"
        [[sections]]
        name = "Stalls"
        price = 4500
        rows = [{ row = "A", seats = 2 }]
        [[sections]]
        name = "Floor"
        price = 0
        capacity = 3"#;
    let sections = toml(lines).unwrap();
    assert_eq!(sections, parse(json, Format::Json).unwrap());
    assert_eq!((sections[0].name.as_str(), sections[0].price), ("Stalls", 4500));
    assert_eq!(sections[0].rows, Some(vec![Row { row: "A".into(), seats: 2 }]));
    assert_eq!(sections[1].capacity, Some(3));
}

#[test]
fn row_ranges_and_counts_are_expanded() {
    let names = |rows: &str| {
        let rows = rows_of(rows).unwrap_or_else(|error| panic!("{rows}: {error}"));
        rows.iter().map(|(row, seats)| format!("{row}{seats} ")).collect::<String>()
    };
    let cases = [
        (r#"{ from = "Y", to = "AB", seats = 4 }"#, "Y4 Z4 AA4 AB4 "),
        (r#"{ from = 9, to = "11", seats = 1 }"#, "91 101 111 "),
        (r#"{ count = 3, seats = 2 }"#, "A2 B2 C2 "),
        (r#"{ count = 3, from = "H", skip = ["I"], seats = 2 }"#, "H2 J2 K2 "),
        (r#"{ from = "H", to = "K", skip = ["K", "I"], seats = 2 }"#, "H2 J2 "),
        (r#"[{ from = "A", to = "B", seats = 2 }, { row = "Box", seats = 1 }]"#, "A2 B2 Box1 "),
        (r#"[{ row = 7, seats = 2 }]"#, "72 "),
    ];
    for (rows, expected) in cases {
        assert_eq!(names(rows), expected, "{rows}");
    }
    assert_eq!(rows_of("{ count = 100000, seats = 10 }").unwrap().len(), ROWS_MAX);
}

#[test]
fn row_error_names_its_position() {
    let cases = [
        ("{ seats = 1 }", r#"sections[0] "S" rows: give `row` for one row, `from` and `to`"#),
        (r#"{ from = "A", seats = 1 }"#, "give `row` for one row"),
        (r#"{ from = "A", to = "B", count = 2, seats = 1 }"#, "give `row` for one row"),
        (r#"{ row = "A", to = "B", seats = 1 }"#, "rows.row: is the name of one row"),
        (r#"{ from = "A", to = 4, seats = 1 }"#, "rows.to: is not a row that comes after A"),
        (r#"{ from = "C", to = "B", seats = 1 }"#, "rows.to: is not a row that comes after C"),
        (r#"{ from = "a", to = "b", seats = 1 }"#, r#"rows.from: "a" begins no range"#),
        (r#"[{ row = "A", seats = 1 }, { row = "B" }]"#, "rows[1]: `seats` is missing"),
        (r#"[{ row = "A", seats = 0 }]"#, "rows[0].seats: must be a whole number from 1 to"),
        (r#"[{ row = "A", seats = "2" }]"#, r#"from 1 to 1000000; got "2""#),
        (r#"[{ row = "A", seat = 2 }]"#, r#"rows[0]: "seat" is not a field; there are row, from"#),
        (r#"[{ row = true, seats = 2 }]"#, "rows[0].row: must be a name; got true"),
        (r#"[{ row = "A", seats = 2 }, { count = 1, seats = 2 }]"#, r#""A" occurs twice"#),
        (r#"{ count = 2, seats = 1, skip = ["D"] }"#, "`skip` names a row that is not among"),
        (r#"{ count = 2, seats = 1, skip = [1] }"#, "skip[0]: is not a row like A"),
        (r#"{ count = 2, seats = 1, skip = ["A", "A"] }"#, "skip[1]: is not a row like A"),
        ("{ count = 100001, seats = 1 }", "rows.count: must be a whole number from 1 to 100000"),
        ("{ from = 1, to = 4000000000, seats = 1 }", "an event has at most 100000 rows"),
        ("[{ count = 60000, seats = 1 }, { from = 1, to = 60000, seats = 1 }]", "at most 100000"),
        ("[]", "rows: must have 1 to 100000 items"),
        ("3", "rows: must be a list; got 3"),
    ];
    for (rows, expected) in cases {
        let error = rows_of(rows).unwrap_err();
        assert!(error.starts_with(r#"sections[0] "S""#), "{rows}: {error}");
        assert!(error.contains(expected), "{rows}: {error}");
    }
}

#[test]
fn section_error_names_its_position() {
    let section = |fields: &str| toml(&format!("[[sections]]\n{fields}")).unwrap_err();
    let cases = [
        (section("price = 1\ncapacity = 1"), "sections[0]: `name` is missing"),
        (section("name = \"S\"\ncapacity = 1"), r#"sections[0] "S": `price` is missing"#),
        (section("name = \"S\"\nprice = 45.0\ncapacity = 1"), "price: must be a whole number"),
        (section("name = \"S\"\nprice = 1"), "give either `rows`"),
        (section("name = \"S\"\nprice = 1\ncapacity = 1\nrows = []"), "give either `rows`"),
        (section("name = \"\"\nprice = 1\ncapacity = 1"), r#"sections[0] "": "" is not a name"#),
        (section("nmae = 1"), r#"sections[0]: "nmae" is not a field; there are name, price"#),
        (toml("").unwrap_err(), "`sections` is missing"),
        (toml("sections = 1").unwrap_err(), "sections: must be a list; got 1"),
        (toml("sections = []").unwrap_err(), "sections: must have 1 to 500 items"),
        (toml("sections = [1]").unwrap_err(), "sections[0]: must be a table with fields; got 1"),
        (toml("venue = 1").unwrap_err(), r#""venue" is not a field; there are sections"#),
        (toml("sections = [\n{ name = }]").unwrap_err(), "at line 2 column"),
        (parse("{\n]", Format::Json).unwrap_err(), "at line 2 column 1"),
        (parse("[]", Format::Json).unwrap_err(), "must be a table with fields; got a list"),
    ];
    for (error, expected) in cases {
        assert!(error.contains(expected) && !error.contains('\n'), "{expected}: {error}");
    }
}

#[test]
fn format_is_chosen_by_extension_or_first_character() {
    let format = |path: &str, text: &str| format_of(Path::new(path), text);
    assert_eq!(format("a.json", ""), Format::Json);
    assert_eq!(format("a.TOML", "{"), Format::Toml);
    assert_eq!(format("-", " \n{"), Format::Json);
    assert_eq!(format("-", "[[sections]]"), Format::Toml);
}

#[test]
fn examples_are_valid_layouts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/layouts");
    let mut seats: Vec<(String, u32)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| {
            let path = file.unwrap().path();
            let layout = Layout::new(read(&path).unwrap()).unwrap();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), layout.total_seats())
        })
        .collect();
    seats.sort();
    let expected = [("arena.json", 19_960), ("club.toml", 1_240), ("theatre.toml", 1_182)];
    assert_eq!(seats, expected.map(|(name, seats)| (name.to_owned(), seats)));
}

#[test]
fn missing_file_is_named() {
    let error = read(Path::new("/no/such.toml")).unwrap_err();
    assert!(error.starts_with("layout /no/such.toml: "), "{error}");
}
