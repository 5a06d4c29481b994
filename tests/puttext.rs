use crate::scenario::{Scenario, shared};

const LATER: &str = "PaTcH_MsG 6 ERROR: A later version of this patch is applied.";

fn put(options: &str, text: &str) -> String {
    let output = Scenario::new().command(&format!("puttext {options}")).arg(text).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_message_is_folded_and_ended() {
    assert_eq!(put("", LATER), "PaTcH_MsG 6 ERROR: A later version of this patch is\napplied.\n");
    assert_eq!(put("-n", "short"), "short");
    assert_eq!(put("", r"one\ntwo"), "one\ntwo\n");
    assert_eq!(put("", ""), "\n");
}

#[test]
fn lines_stay_between_the_margins() {
    assert_eq!(put("-l 4 -r 16", r"one two three four\n\nfive"), "    one two\n    three four\n\n    five\n");
}

#[test]
fn a_message_is_folded_as_by_the_classic_tool() {
    let Some(golden) = shared("folding as the classic tool", "goldens/09-backout/out") else { return };
    let outputs = std::fs::read_dir(golden).unwrap().map(|entry| entry.unwrap().path().join("stdout"));
    let texts: Vec<String> = outputs.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    let folded = put("", LATER);
    assert!(texts.iter().any(|text| text.contains(&folded)), "{texts:?}");
}

#[test]
fn margins_without_room_and_no_message_are_wrong_usage() {
    let stage = Scenario::new();
    let text = stage.run("puttext -l 60 text").fails(1);
    assert!(
        text.starts_with("puttext: ERROR: the right margin is not beyond the left one\nusage: "),
        "{text}"
    );
    assert!(stage.run("puttext").fails(1).contains("usage: puttext"));
    assert!(stage.run("puttext -l x text").fails(1).contains("usage: puttext"));
}
