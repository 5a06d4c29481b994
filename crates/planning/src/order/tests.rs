//! Groups and orders, compared with the needs between names.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn edge(from: &str, to: &str) -> NeedEdge {
    NeedEdge {
        from: from.to_owned(),
        to: to.to_owned(),
        kind: EdgeKind::Depend,
        object: None,
        need: format!("P {to}"),
    }
}

/// Returns a graph of needs `a>b` (a needs b) and of names without needs.
fn graph(words: &str) -> (Vec<String>, DependencyGraph) {
    let (mut names, mut edges) = (Vec::new(), Vec::new());
    for word in words.split_whitespace() {
        let ends: Vec<&str> = word.split('>').collect();
        names.extend(ends.iter().map(|name| (*name).to_owned()));
        edges.extend(ends.windows(2).map(|ends| edge(ends[0], ends[1])));
    }
    (names.clone(), DependencyGraph::new(names, edges))
}

/// Returns the groups, names joined by `+`.
fn shown(order: &DependencyOrder) -> String {
    order.groups.iter().map(|group| group.join("+")).collect::<Vec<_>>().join(" ")
}

fn asked(words: &str, operands: &str, direction: OrderDirection) -> String {
    let operands: Vec<String> = operands.split_whitespace().map(str::to_owned).collect();
    shown(&graph(words).1.order(&OrderRequest {
        operands: &operands,
        direction,
        is_reversed: false,
        with_edges: true,
    }))
}

fn all(words: &str) -> String {
    let (names, graph) = graph(words);
    shown(&graph.order(&OrderRequest { operands: &names, ..OrderRequest::default() }))
}

#[test]
fn each_comes_after_what_it_needs_and_the_smallest_that_can_comes_first() {
    assert_eq!(all("a>z b>a c"), "c z a b");
    assert_eq!(all("c b a"), "a b c");
    assert_eq!(all("B>a A>b"), "a B b A");
    assert_eq!(all(""), "");
}

#[test]
fn what_needs_each_other_is_one_group() {
    assert_eq!(all("a>b>c>a d>c c>e"), "e a+b+c d");
    assert_eq!(all("a>b b>a c>d d>c a>c"), "c+d a+b");
    assert_eq!(all("a>a"), "a");
}

#[test]
fn dependents_and_dependencies_are_found_through_others_and_named_with_where_they_begin() {
    let words = "app>lib>libc tool>lib other>libc alone";
    assert_eq!(asked(words, "lib", OrderDirection::Dependents), "lib app tool");
    assert_eq!(asked(words, "app", OrderDirection::Dependencies), "libc lib app");
    assert_eq!(asked(words, "app tool", OrderDirection::Dependents), "app tool");
    assert_eq!(asked(words, "alone none", OrderDirection::Dependents), "alone");
    assert_eq!(asked(words, "", OrderDirection::Dependents), "");
}

#[test]
fn reversed_is_the_same_backwards() {
    let (names, graph) = graph("a>b b>c c>b d>a");
    let request = OrderRequest { operands: &names, with_edges: true, ..OrderRequest::default() };
    let reversed = graph.order(&OrderRequest { is_reversed: true, ..request.clone() });
    assert_eq!((shown(&graph.order(&request)).as_str(), shown(&reversed).as_str()), ("b+c a d", "d a b+c"));
    assert_eq!(graph.order(&request).edges, reversed.edges);
}

#[test]
fn the_edges_are_those_between_the_names_of_the_answer() {
    let (_, graph) = graph("app>lib>libc other>libc app>lib");
    let operands = ["lib".to_owned()];
    let order =
        graph.order(&OrderRequest { operands: &operands, with_edges: true, ..OrderRequest::default() });
    assert_eq!(order.edges, [edge("app", "lib")]);
}

#[test]
fn a_chain_of_a_hundred_thousand_overflows_no_stack() {
    let name = |number: usize| format!("p{number:06}");
    let edges = (1..100_000).map(|number| edge(&name(number), &name(number - 1))).collect();
    let graph = DependencyGraph::new([], edges);
    let operands = [name(0)];
    let order = graph.order(&OrderRequest { operands: &operands, ..OrderRequest::default() });
    assert_eq!((order.groups.len(), order.groups[99_999][0].as_str()), (100_000, "p099999"));
}

/// Ten thousand packages with fifty thousand edges, made of a fixed seed.
#[test]
fn ten_thousand_packages_that_need_each_other_at_random_are_put_in_order() {
    let mut seed = 1_u64;
    let mut drawn = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let name = |number: usize| format!("ACMEp{number:05}");
    let edges = (0..50_000).map(|_| edge(&name(drawn(10_000)), &name(drawn(10_000)))).collect();
    let names: Vec<String> = (0..10_000).map(name).collect();
    let graph = DependencyGraph::new(names.clone(), edges);
    let order = graph.order(&OrderRequest { operands: &names, ..OrderRequest::default() });
    assert_eq!(order.groups.iter().map(Vec::len).sum::<usize>(), 10_000);
}

/// Returns the names that are reached from each name, by trying until nothing is added.
fn reachability(names: &[String], edges: &[NeedEdge]) -> BTreeMap<String, BTreeSet<String>> {
    let mut reached: BTreeMap<String, BTreeSet<String>> =
        names.iter().map(|name| (name.clone(), BTreeSet::from([name.clone()]))).collect();
    loop {
        let before: usize = reached.values().map(BTreeSet::len).sum();
        for edge in edges {
            let more = reached[&edge.to].clone();
            for set in reached.values_mut().filter(|set| set.contains(&edge.from)) {
                set.extend(more.iter().cloned());
            }
        }
        if reached.values().map(BTreeSet::len).sum::<usize>() == before {
            return reached;
        }
    }
}

/// Takes the first of the remaining groups that needs none of the others, again and again.
fn naive_order(names: &BTreeSet<String>, reached: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let mut groups: Vec<Vec<String>> = Vec::new();
    for name in names.iter().filter(|name| !groups.concat().contains(name)).collect::<Vec<_>>() {
        let together = |other: &&String| reached[name].contains(*other) && reached[*other].contains(name);
        let group: Vec<String> = names.iter().filter(together).cloned().collect();
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let mut order = Vec::new();
    while !groups.is_empty() {
        let is_ready = |group: &Vec<String>| {
            let needed = |other: &String| !group.contains(other) && groups.concat().contains(other);
            !reached[&group[0]].iter().any(needed)
        };
        let next = groups.iter().filter(|group| is_ready(group)).min().unwrap().clone();
        groups.retain(|group| *group != next);
        order.push(next);
    }
    order
}

proptest! {
    #[test]
    fn every_edge_is_respected_and_groups_are_the_strongly_connected_components(
        count in 1..14_usize,
        pairs in prop::collection::vec((0..14_usize, 0..14_usize), 0..40),
        begins in prop::collection::vec(0..14_usize, 1..4),
        takes_dependencies: bool,
        turns in prop::collection::vec(0..1000_usize, 40),
    ) {
        let name = |number: usize| format!("p{}", number % count);
        let names: Vec<String> = (0..count).map(name).collect();
        let edges: Vec<NeedEdge> = pairs.iter().map(|(from, to)| edge(&name(*from), &name(*to))).collect();
        let direction =
            if takes_dependencies { OrderDirection::Dependencies } else { OrderDirection::Dependents };
        let operands: Vec<String> = begins.into_iter().map(name).collect();
        let request = OrderRequest { operands: &operands, direction, is_reversed: false, with_edges: true };
        let order = DependencyGraph::new(names.clone(), edges.clone()).order(&request);

        let reached = reachability(&names, &edges);
        let is_meant = |name: &&String| operands.iter().any(|operand| {
            if takes_dependencies { reached[operand].contains(*name) } else { reached[*name].contains(operand) }
        });
        let meant: BTreeSet<String> = names.iter().filter(is_meant).cloned().collect();
        prop_assert_eq!(&order.groups, &naive_order(&meant, &reached));
        let place = |name: &String| order.groups.iter().position(|group| group.contains(name)).unwrap();
        for edge in &order.edges {
            prop_assert!(place(&edge.to) <= place(&edge.from), "{:?}", edge);
        }
        let between = |edge: &&NeedEdge| edge.from != edge.to && meant.contains(&edge.from) && meant.contains(&edge.to);
        let expected: BTreeSet<NeedEdge> = edges.iter().filter(between).cloned().collect();
        prop_assert_eq!(BTreeSet::from_iter(order.edges.clone()), expected);

        let (mut names, mut edges, mut turned) = (names, edges, operands.clone());
        for (at, turn) in turns.iter().enumerate() {
            if !edges.is_empty() {
                let length = edges.len();
                edges.swap(at % length, turn % length);
            }
            names.swap(at % count, turn % count);
        }
        turned.reverse();
        let again = DependencyGraph::new(names, edges).order(&OrderRequest { operands: &turned, ..request });
        prop_assert_eq!(order, again);
    }
}
