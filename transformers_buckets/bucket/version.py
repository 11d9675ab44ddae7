"""The version of this package: it goes into manifests and into what the Hub is told about its client."""

VERSION = "0.1.0"
