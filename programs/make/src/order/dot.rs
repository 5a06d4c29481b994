//! The order as a graph for Graphviz: an arrow from what needs to what is needed, names that need each other in a box.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::reason::reason_of;
use patchadm_planning::order::NeedEdge;

/// Writes the graph. With `tells_why` each arrow carries its reason.
pub(super) fn graph(groups: &[Vec<String>], edges: &[NeedEdge], tells_why: bool) -> String {
    let mut text = "digraph order {\n".to_owned();
    for (number, group) in groups.iter().enumerate() {
        let names: String =
            group.iter().map(|name| format!("{};", quoted(name))).collect::<Vec<_>>().join(" ");
        // Writing to a string never fails.
        let _ = match group.len() {
            1 => writeln!(text, "  {names}"),
            _ => writeln!(text, "  subgraph cluster_{number} {{ {names} }}"),
        };
    }
    let mut arrows: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for edge in edges {
        arrows.entry((&edge.from, &edge.to)).or_default().push(reason_of(edge));
    }
    for ((from, to), reasons) in arrows {
        let label =
            if tells_why { format!(" [label={}]", quoted(&reasons.join("\n"))) } else { String::new() };
        let _ = writeln!(text, "  {} -> {}{label};", quoted(from), quoted(to));
    }
    text + "}\n"
}

/// Returns a string as Graphviz reads it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_planning::order::EdgeKind;

    #[test]
    fn a_name_with_quotes_stays_one_and_each_pair_has_one_arrow() {
        let edge = |need: &str| NeedEdge {
            from: "/bin/a\"b\\c".to_owned(),
            to: "X".to_owned(),
            kind: EdgeKind::Elf,
            object: Some("/bin/o".to_owned()),
            need: need.to_owned(),
        };
        let groups = [vec!["X".to_owned(), "Y".to_owned()], vec!["/bin/a\"b\\c".to_owned()]];
        assert_eq!(
            graph(&groups, &[edge("1"), edge("2")], true),
            "digraph order {
  subgraph cluster_0 { \"X\"; \"Y\"; }
  \"/bin/a\\\"b\\\\c\";
  \"/bin/a\\\"b\\\\c\" -> \"X\" [label=\"/bin/o loads 1\\n/bin/o loads 2\"];
}
"
        );
    }
}
