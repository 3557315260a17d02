use http::Request;

use super::*;

fn read(query: &str, last_event_id: &str) -> Wanted {
    let request = Request::get(format!("/?{query}")).header(LAST_EVENT_ID, last_event_id).body(()).unwrap();
    Wanted::read(&request.into_parts().0, 8).unwrap_or_else(|error| panic!("{query}: {error:?}"))
}

fn starts(query: &str, last_event_id: &str) -> Vec<(String, Start)> {
    let topics = read(query, last_event_id).topics.into_iter();
    topics.map(|asked| (asked.topic, asked.start)).collect()
}

fn after(text: &str) -> Start {
    Start::After(text.parse().unwrap())
}

#[test]
fn the_form_follows_from_what_is_asked_for() {
    assert_eq!(read("topic=a", "").form, Form::Raw);
    for query in ["topic=a&format=v1", "format=v1&topic=a", "topic=a&topic=b", "topic=a.*", "topic=a.%3E"] {
        assert_eq!(read(query, "").form, Form::V1, "{query}");
    }
}

#[test]
fn the_header_goes_before_the_address_and_both_before_last_and_latest() {
    assert_eq!(starts("topic=a", ""), [("a".into(), Start::Live)]);
    assert_eq!(starts("topic=a&last=3", ""), [("a".into(), Start::Last(3))]);
    assert_eq!(starts("latest&topic=a", ""), [("a".into(), Start::Latest)]);
    assert_eq!(starts("topic=a&latest=false", ""), [("a".into(), Start::Live)]);
    assert_eq!(starts("topic=a&after=k:1&last=3", ""), [("a".into(), after("k:1"))]);
    assert_eq!(starts("after=k:1&topic=a", ""), [("a".into(), after("k:1"))]);
    assert_eq!(starts("topic=a&after=k:1", "k:2"), [("a".into(), after("k:2"))]);
}

#[test]
fn each_after_is_of_the_topic_before_it() {
    let query = "topic=a&after=k:1&topic=b&last=9&topic=c&after=m:2&topic=d.*";
    let wanted = [
        ("a".into(), after("k:1")),
        ("b".into(), Start::Last(9)),
        ("c".into(), after("m:2")),
        ("d.*".into(), Start::Live),
    ];
    assert_eq!(starts(query, ""), wanted);
}
