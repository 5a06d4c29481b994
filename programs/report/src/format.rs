//! The formats of a report.

/// A format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReportFormat {
    Text,
    Json,
    Csv,
    Html,
    OpenVex,
    CycloneDx,
    Prometheus,
}

/// The formats with their words.
pub(crate) const FORMATS: [(&str, ReportFormat); 7] = [
    ("text", ReportFormat::Text),
    ("json", ReportFormat::Json),
    ("csv", ReportFormat::Csv),
    ("html", ReportFormat::Html),
    ("openvex", ReportFormat::OpenVex),
    ("cyclonedx", ReportFormat::CycloneDx),
    ("prometheus", ReportFormat::Prometheus),
];
